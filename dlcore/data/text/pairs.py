"""Pairs of a text and its translation, from packages and from pairs of files, with their splits."""

import gzip
import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dlcore.data.packages import package_folder
from dlcore.data.text.message_catalogs import Pair, read_mo, read_po
from dlcore.utils.checks import check_bool, check_instance, check_number
from dlcore.utils.files import user_path


class PairSplit(NamedTuple):
    """Pairs ``(source, target)`` in three parts, each a list.

    Attributes:
        train: the pairs to train with.
        dev: those to choose settings with.
        test: those for the reported results.
    """

    train: list[Pair]
    dev: list[Pair]
    test: list[Pair]


def package_pairs(language: str = "de", *, copies: bool = False) -> PairSplit:
    """English names and messages with their translations, from the packages Django and pycountry.

    The messages are those of Django's forms and administration pages (BSD-3-Clause). The names are those of languages,
    scripts, countries, regions and currencies in pycountry (LGPL-2.1, from Debian's iso-codes). German has 4,900 pairs
    of 18 characters on average. Most names are the same in both languages. Such pairs are left out
    unless ``copies`` is True; then German has 15,000 pairs.

    Texts are in Unicode's form NFC, and white space between words is one space. Of pairs with the same source the first
    one stays. The parts come from `split_pairs`.

    Args:
        language: a code of the packages, such as ``"de"``, ``"fr"`` or ``"pt_BR"``.
        copies: True to keep pairs whose target is the source.

    Raises:
        FileNotFoundError: a package is neither installed nor fetched.
        TypeError: the language is no text, or ``copies`` is no boolean.
        ValueError: neither package has the language, or a file is damaged.
    """
    check_instance("language", language, str, "the code of a language, such as 'de'")
    check_bool("copies", copies)
    catalogs = {
        path: reader
        for package, pattern, reader in (
            ("django", "django/**/locale/*/LC_MESSAGES/django.po", read_po),
            ("pycountry", "pycountry/locales/*/LC_MESSAGES/*.mo", read_mo),
        )
        for path in sorted(package_folder(package).glob(pattern))
    }
    chosen = [(path, reader) for path, reader in catalogs.items() if path.parts[-3] == language]
    if not chosen:
        known = ", ".join(sorted({path.parts[-3] for path in catalogs}))
        raise ValueError(f"language: got {language!r}, expected a language of Django or pycountry: {known}")
    pairs = _clean(pair for path, reader in chosen for pair in reader(path))
    return split_pairs([pair for pair in pairs if copies or pair[0] != pair[1]])


def _clean(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs in NFC with single spaces, without empty texts; of those with the same source the first."""
    first: dict[str, str] = {}
    for pair in pairs:
        source, target = (" ".join(unicodedata.normalize("NFC", text).split()) for text in pair)
        if source and target:
            first.setdefault(source, target)
    return list(first.items())


def split_pairs(pairs: Sequence[Pair], *, dev: float = 0.1, test: float = 0.1) -> PairSplit:
    """Splits pairs by the words of their source, so that no part has a source of another.

    Sources that have the same words in any order and case are in the same part, such as "Saidi Arabic" and "Arabic,
    Saidi". The part is a function of these words only: it changes neither with the order of the pairs nor with pairs
    that are added.

    Args:
        pairs: pairs ``(source, target)``.
        dev: the share of sources for the part dev, about.
        test: the share of sources for the part test, about.

    Raises:
        TypeError: the pairs are not pairs of texts, or a share is no number.
        ValueError: a share is below 0, or both make 1 or more.

    >>> parts = split_pairs([(f"word {n}", f"Wort {n}") for n in range(100)])
    >>> [len(part) for part in parts]
    [78, 15, 7]
    """
    check_pairs(pairs)
    check_number("dev", dev, "[0, 1)")
    check_number("test", test, "[0, 1)")
    if dev + test >= 1:
        raise ValueError(f"dev: got {dev} with test={test}, expected shares whose sum is below 1")
    keys = [" ".join(sorted(re.findall(r"\w+", source.casefold()))) or source for source, _ in pairs]
    return split_by(keys, pairs, dev, test)


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Checks that these are pairs of texts; TypeError if not."""
    check_instance("pairs", pairs, (list, tuple), "a list of pairs of texts")
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise TypeError(f"pairs: got {pair!r}, expected pairs (source, target) of texts")


def split_by(keys: Sequence[str], pairs: Sequence[Pair], dev: float, test: float) -> PairSplit:
    """Splits pairs by keys, one for each pair. All pairs of a key are in the part that depends on this key only."""
    parts = PairSplit([], [], [])
    for key, pair in zip(keys, pairs, strict=True):
        place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        (parts.test if place < test else parts.dev if place < test + dev else parts.train).append(pair)
    return parts


def text_pairs(source_file: str | Path, target_file: str | Path) -> list[Pair]:
    """The pairs of two text files, in which line n of one is the translation of line n of the other.

    Pairs with an empty line are left out, and white space between words becomes one space.

    Args:
        source_file: a text file in UTF-8; one that ends in ``.gz`` is unpacked.
        target_file: a file with as many lines.

    Raises:
        FileNotFoundError: a file is missing.
        TypeError: an argument is no path.
        ValueError: the files have different numbers of lines, or one is damaged or not in UTF-8.
    """
    files = user_path("source_file", source_file), user_path("target_file", target_file)
    sources, targets = (
        _read_lines(name, path) for name, path in zip(("source_file", "target_file"), files, strict=True)
    )
    if len(sources) != len(targets):
        raise ValueError(
            f"target_file: got {files[1]} with {len(targets)} lines, expected {len(sources)}, one for each line of "
            f"{files[0]}"
        )
    lines = zip(sources, targets, strict=True)
    return [(source, target) for source, target in lines if source and target]


def _read_lines(name: str, path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{name}: got {path}, which is no file; expected a text file with one sentence a line, plain or .gz; "
            "package_pairs needs no files of yours"
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text = file.read().decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{name}: got {path}, expected text in UTF-8 ({error}); fetch the file anew"
        ) from error
    # Only the ends that text editors show count; str.splitlines also splits at separators within a sentence.
    lines = re.split("\r\n|\n|\r", text)
    return [" ".join(line.split()) for line in (lines if lines[-1] else lines[:-1])]


def multi30k(folder: str | Path, source: str = "en", target: str = "de") -> PairSplit:
    """Multi30k: descriptions of 31,014 photographs with their translations (Elliott et al. 2016, arXiv 1605.00459).

    Args:
        folder: holds ``train``, ``val`` and ``test_2016_flickr``, each with the ends ``.en`` and ``.de``, or ``.en.gz``
            and ``.de.gz``; other languages likewise.
        source: the end of the files to translate from.
        target: the end of the files to translate to.

    Returns:
        The official parts; ``val`` is dev. They have 29,000, 1,014 and 1,000 pairs.

    Raises:
        FileNotFoundError: the folder or a file is missing.
        TypeError: an argument has another type.
        ValueError: two files have different numbers of lines, or one is damaged.
    """
    for name, language in (("source", source), ("target", target)):
        check_instance(name, language, str, "the end of the files' names, such as 'en'")
    root = user_path("folder", folder)
    stems = ("train", "val", "test_2016_flickr")
    return PairSplit(
        *(text_pairs(*(_find(root, f"{stem}.{end}") for end in (source, target))) for stem in stems)
    )


def _find(folder: Path, name: str) -> Path:
    found = [folder / end for end in (name, f"{name}.gz") if (folder / end).is_file()]
    if not found:
        fault = f"has neither {name} nor {name}.gz" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"folder: got {folder}, which {fault}; expected Multi30k's train, val and test_2016_flickr in both "
            "languages; name their folder, or use package_pairs, which needs no files of yours"
        )
    return found[0]
