"""Texts as lists of tokens, and lists of numbers as one array."""

import re
from collections.abc import Sequence

import numpy as np

from dlcore.data.batch import Batch, Transform, check_generator, get_field
from dlcore.data.text.vocabulary import END, UNKNOWN
from dlcore.utils.checks import check_bool, check_instance, check_number


def words(text: str) -> list[str]:
    """The words, numbers and punctuation marks of a text in lower case; an apostrophe within a word belongs to it.

    Raises:
        TypeError: the text is none.

    >>> words("It isn't 3 films, is it?")
    ['it', "isn't", '3', 'films', ',', 'is', 'it', '?']
    """
    check_instance("text", text, str, "a text")
    return re.findall(r"\w+(?:['\u2019]\w+)*|[^\w\s]", text.lower())


def characters(text: str) -> list[str]:
    """The characters of a text.

    Raises:
        TypeError: the text is none.

    >>> characters("it is")
    ['i', 't', ' ', 'i', 's']
    """
    check_instance("text", text, str, "a text")
    return list(text)


def pad_sequences(
    sequences: Sequence[Sequence[int] | np.ndarray], *, end: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of numbers as one array, padded with `END`, which is 0.

    Args:
        sequences: N sequences of any lengths, for instance those that `Vocabulary.encode` returns.
        end: True to append one `END` to each sequence, which then counts in its length.

    Returns:
        The pair of an int32 array ``[N, T]``, where T is the largest length and at least 1, and the lengths, int32
        ``[N]``.

    Raises:
        TypeError: the sequences are not sequences of integers.
        ValueError: there is none.

    >>> pad_sequences([[5, 6, 7], [8]], end=True)[0].tolist()
    [[5, 6, 7, 0], [8, 0, 0, 0]]
    """
    check_bool("end", end)
    check_instance("sequences", sequences, (list, tuple), "a list of sequences of integers")
    if not sequences:
        raise ValueError("sequences: got none, expected at least one")
    rows = [np.asarray(sequence) for sequence in sequences]
    for row in rows:  # an empty list becomes an array of floats
        if row.ndim != 1 or (row.size and not np.issubdtype(row.dtype, np.integer)):
            raise TypeError(f"sequences: got {row.dtype} of shape {row.shape}, expected integers [n]")
    lengths = np.array([len(row) + end for row in rows], np.int32)
    padded = np.full((len(rows), max(1, lengths.max())), END, np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded, lengths


def token_dropout(rate: float) -> Transform:
    """Returns a transform that makes a share of the tokens of a batch `UNKNOWN`, so that no single one is relied on.

    It is the word dropout of Iyyer et al. 2015 (Deep Unordered Composition Rivals Syntactic Methods). `END`, which
    pads, stays.

    Args:
        rate: the probability of each token, in [0, 1).

    Returns:
        A transform of batches with integers ``inputs [B, T]``.

    Raises:
        TypeError: the rate is not a number.
        ValueError: it is out of its bounds.

    >>> batch = {"inputs": np.array([[5, 6, 7, 8, 0]])}
    >>> token_dropout(0.5)(batch, np.random.default_rng(1))["inputs"].tolist()
    [[5, 6, 1, 8, 0]]
    """
    check_number("rate", rate, "[0, 1)")

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        check_generator(generator)
        tokens = get_field(batch, "inputs")
        dropped = (generator.random(tokens.shape) < rate) & (tokens != END)
        return {**batch, "inputs": np.where(dropped, UNKNOWN, tokens).astype(tokens.dtype)}

    return transform
