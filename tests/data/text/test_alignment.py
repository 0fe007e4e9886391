"""Alignments spell the phones of their words, are the best of all, and EM never makes the words less likely."""

import itertools

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text import alignment

WORDS = [
    ("cat", "K AE T"),
    ("tact", "T AE K T"),
    ("tax", "T AE K S"),
    ("axe", "AE K S"),
    ("ate", "EY T"),
    ("cafe", "K AE F EY"),
    ("face", "F EY S"),
    ("x", "EH K S"),
]
PAIRS = [(word, tuple(phones.split())) for word, phones in WORDS]


def spelled(known, tags):
    return tuple(phone for tag in tags for phone in known.chunks[tag])


def every_alignment(known, word, phones):
    """All alignments of a word with their probabilities, by trying out all sizes of chunks."""
    for sizes in itertools.product(range(3), repeat=len(word)):
        if sum(sizes) == len(phones):
            ends = np.cumsum((0, *sizes))
            chunks = [phones[start:end] for start, end in itertools.pairwise(ends)]
            if all(chunk in known.chunks for chunk in chunks):
                tags = [known.chunks.index(chunk) for chunk in chunks]
                rows = [known.letters.index(letter) for letter in word]
                yield known.probabilities[rows, tags].prod(), tags


def test_letters_stand_for_the_phones_that_a_reader_expects():
    known = dl.data.learn_alignment(PAIRS)
    shown = [[" ".join(known.chunks[tag]) for tag in tags] for tags in known.align(PAIRS[:5])]
    assert shown == [
        ["K", "AE", "T"],
        ["T", "AE", "K", "T"],
        ["T", "AE", "K S"],
        ["AE", "K S", ""],
        ["EY", "T", ""],
    ]


def test_the_alignment_is_the_most_probable_of_all():
    known = dl.data.learn_alignment(PAIRS, labels=10, iterations=1)
    for (word, phones), tags in zip(PAIRS[:-1], known.align(PAIRS[:-1]), strict=True):
        probability, best = max(every_alignment(known, word, phones))
        rows = [known.letters.index(letter) for letter in word]
        assert known.probabilities[rows, tags].prod() == pytest.approx(probability)
        assert spelled(known, tags) == phones == spelled(known, best)


def test_expected_counts_are_those_over_all_alignments():
    known = dl.data.learn_alignment(PAIRS, iterations=1)
    expected = np.zeros_like(known.probabilities)
    for word, phones in PAIRS[:4]:
        alignments = list(every_alignment(known, word, phones))
        total = sum(probability for probability, _ in alignments)
        for probability, tags in alignments:
            rows = [known.letters.index(letter) for letter in word]
            np.add.at(expected, (rows, tags), probability / total)
    groups = alignment._groups(PAIRS[:4], known)
    counts = sum(alignment._expected_counts(group, known.probabilities) for group in groups)
    np.testing.assert_allclose(counts, expected, atol=1e-12)
    np.testing.assert_allclose(known.probabilities.sum(axis=1), 1)


def test_a_word_without_an_alignment_has_none():
    known = dl.data.learn_alignment(PAIRS)
    assert known.align([("x", ("EH", "K", "S")), ("b", ("T",)), ("", ()), ("a", ("B",))]) == [None] * 4


def test_labels_are_no_phone_all_phones_and_the_most_frequent_pairs():
    known = dl.data.learn_alignment(PAIRS, labels=8 + 1)
    assert len({phone for _, phones in PAIRS for phone in phones}) == 7
    assert known.chunks[0] == ()
    assert known.chunks[-1] == ("K", "S")
    with pytest.raises(ValueError, match="labels: got 7"):
        dl.data.learn_alignment(PAIRS, labels=7)


@pytest.mark.parametrize("pairs", [[], [("abc", ())], [("", ("K",)), ("a", ())]])
def test_words_without_letters_or_phones_alone_are_refused(pairs):
    with pytest.raises(ValueError, match="pairs: got no word with letters and phones"):
        alignment.learn_alignment(pairs)
