"""Texts that people wrote about films, with their ratings: which are positive?"""

import re
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data.packages import package_folder
from dlcore.utils.files import read_text, user_path

ARCHIVE = Path("additional_resources", "hutto_ICWSM_2014.tar.gz")
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
SENTENCES = 10_605
MEND = "another set needs no files of yours: movie_sentences()"


class Reviews(NamedTuple):
    """Texts with their ratings.

    Attributes:
        texts: N texts.
        ratings: float32 ``[N]``.
        labels: int32 ``[N]``, 1 if a text is positive and 0 if it is negative.
    """

    texts: tuple[str, ...]
    ratings: np.ndarray
    labels: np.ndarray

    def tuning(self) -> tuple["Reviews", "Reviews"]:
        """This part in two, nine tenths and a tenth, drawn by the seed 0: to choose settings without the test part."""
        order = np.random.default_rng(0).permutation(len(self.texts))
        cut = len(order) - len(order) // 10
        first, second = (
            Reviews(tuple(self.texts[row] for row in rows), self.ratings[rows], self.labels[rows])
            for rows in (order[:cut], order[cut:])
        )
        return first, second


def movie_sentences() -> tuple[Reviews, Reviews]:
    """The 10,568 rated sentences of film reviews that vaderSentiment's source brings (Hutto & Gilbert 2014; MIT).

    The sentences are those of Pang & Lee 2005. Twenty people rated each from -4 to 4, and its rating is their mean. The
    37 sentences whose rating is 0 are left out. A permutation by the seed 0 puts four of five into the training part.
    Baselines on the test part: TF-IDF and logistic regression 0.793; published for these sentences, in ten folds: a
    convolutional network with random embeddings 0.761, with embeddings of 100 billion words of news 0.815 (Kim 2014,
    arXiv 1408.5882).

    Returns:
        ``(train, test)`` of 8,455 and 2,113 sentences; 49 and 51 % are positive, which is a rating above 0.

    Raises:
        FileNotFoundError: the package or its archive is missing.
        ValueError: the archive is damaged.
    """
    path = package_folder("vaderSentiment") / ARCHIVE
    rows = [line.split("\t") for line in _read_member(path).split("\n") if line]
    if len(rows) != SENTENCES or any(len(row) != 3 for row in rows):
        raise ValueError(
            f"{path}: got {len(rows)} lines in {MEMBER}, expected {SENTENCES} of number, rating and text; fetch it anew"
        )
    rated = [(text.strip(), float(rating)) for _, rating, text in rows if float(rating)]
    order = np.random.default_rng(0).permutation(len(rated))
    test = len(rated) // 5
    parts = [[rated[index] for index in part] for part in (order[:-test], order[-test:])]
    return _reviews(parts[0], 0.0), _reviews(parts[1], 0.0)


def _read_member(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"movie_sentences: {path} is missing; launch/data vaderSentiment")
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(MEMBER)
            content = member.read() if member else b""
        return content.decode("utf-8").replace("\r\n", "\n")
    except (tarfile.TarError, EOFError, OSError, KeyError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: got a damaged archive ({error}); fetch it anew") from error


def _reviews(rated: list[tuple[str, float]], middle: float) -> Reviews:
    """Reviews of pairs of text and rating; those with a rating above the middle are positive."""
    ratings = np.array([rating for _, rating in rated], np.float32)
    return Reviews(tuple(text for text, _ in rated), ratings, (ratings > middle).astype(np.int32))


def imdb(folder: str | Path | None) -> tuple[Reviews, Reviews]:
    """The 50,000 reviews of IMDB, half for training and half for testing (Maas et al. 2011), from a folder.

    The authors publish the set at ai.stanford.edu/~amaas/data/sentiment for research. A film has at most 30 reviews,
    and no film is in both parts. The markup ``<br />`` becomes a line's end.

    Args:
        folder: the unpacked folder ``aclImdb``, or the one that holds it. It has ``train/pos``, ``train/neg``,
            ``test/pos`` and ``test/neg``, with a file ``ID_RATING.txt`` for each review. None stands for a folder that
            was not given, which is an error.

    Returns:
        ``(train, test)``, in the order of the files' numbers, negative reviews first. Ratings are 1 to 4 or 7 to 10.

    Raises:
        TypeError: the folder is no path.
        FileNotFoundError: the folder or one of its four parts is missing or holds no review, or the folder is None.
        ValueError: a file has another name, or is no text in UTF-8.
    """
    if folder is None:
        raise FileNotFoundError(f"folder: got none, expected the folder aclImdb of IMDB's reviews; {MEND}")
    path = user_path("folder", folder)
    path = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    parts = {(part, kind): path / part / kind for part in ("train", "test") for kind in ("neg", "pos")}
    missing = [str(place.relative_to(path)) for place in parts.values() if not any(place.glob("*.txt"))]
    if missing:
        raise FileNotFoundError(
            f"folder: got {path}, which has no review in {', '.join(missing)}; expected the folder aclImdb of IMDB's "
            f"reviews, unpacked; {MEND}"
        )
    train, test = (
        _reviews([pair for kind in ("neg", "pos") for pair in _read_folder(parts[part, kind])], 5.5)
        for part in ("train", "test")
    )
    return train, test


def _read_folder(folder: Path) -> list[tuple[str, float]]:
    """The texts and ratings of the files of a folder, in the order of their numbers."""
    names = {path: re.fullmatch(r"(\d+)_(\d+)\.txt", path.name) for path in folder.glob("*.txt")}
    numbered = []
    for path, match in names.items():
        rating = int(match[2]) if match else 0
        if not match or (rating > 5) != (folder.name == "pos") or rating not in range(1, 11):
            raise ValueError(f"{path}: got another name than ID_RATING.txt with a rating of {folder.name}")
        numbered.append((int(match[1]), float(rating), path))
    return [
        (re.sub(r"(<br />)+", "\n", read_text(path, "unpack it anew")), rating)
        for _, rating, path in sorted(numbered)
    ]
