"""Letters aligned with phones: which phones each letter of a word is pronounced as.

    p a l m        q u i z        a x e
    P AA - M       K W IH Z       AE K+S -

Each letter gives no phone, one or two. The alignment is learned by expectation maximization: the probability
``p(chunk | letter)`` of a chunk of phones starts from a guess. Each iteration counts how often each chunk is expected
for each letter, over all alignments of all words, by forward and backward sums (Rabiner 1989), and divides.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.utils.checks import check_instance, check_integer, shown

Phones = tuple[str, ...]
START = (0.2, 0.75, 0.05)
"""Where EM starts: the probabilities of no phone, one and two, each shared equally by all chunks of that length."""


class Alignment(NamedTuple):
    """Probabilities of phones for each letter, by which words are aligned.

    Attributes:
        letters: the letters, in the order of the rows.
        chunks: what a letter may stand for, in the order of the columns: tuples of no phone, one or two. The first one
            has no phone.
        probabilities: ``p(chunk | letter)``, float64 ``[letters, chunks]``.
    """

    letters: tuple[str, ...]
    chunks: tuple[Phones, ...]
    probabilities: np.ndarray

    def align(self, pairs: Sequence[tuple[str, Phones]]) -> list[np.ndarray | None]:
        """The most probable alignment of each word with its phones (Viterbi 1967).

        Args:
            pairs: words with their phones.

        Returns:
            For each word int32 ``[letters of the word]``, the index in ``chunks`` for each letter; None for a word that
            has no alignment, such as one of fewer letters than half of its phones, or with an unknown letter.

        Raises:
            TypeError: the pairs are not words with their phones.
        """
        tags: list[np.ndarray | None] = [None] * len(_checked(pairs))
        for group in _groups(pairs, self):
            best = _best_chunks(group, self.probabilities)
            for place, row in zip(group.places.tolist(), best, strict=True):
                tags[place] = row if row[0] >= 0 else None
        return tags


class _Group(NamedTuple):
    """All words of the same number of letters L and of phones P; ``zero``, ``one``, ``two`` are indices of chunks.

    A chunk that does not exist has the index of one more than the last.
    """

    places: np.ndarray  # [n], of the words in the list of pairs
    letters: np.ndarray  # [n, L]
    one: np.ndarray  # [n, P], the chunk of each phone
    two: np.ndarray  # [n, P - 1], the chunk of each phone with the next one

    def emissions(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``p(chunk | letter)`` of no phone ``[n, L]``, one ``[n, L, P]`` and two ``[n, L, P - 1]``."""
        table = np.pad(probabilities, ((0, 0), (0, 1)))
        letters = self.letters[:, :, None]
        return table[self.letters, 0], table[letters, self.one[:, None]], table[letters, self.two[:, None]]


def learn_alignment(
    pairs: Sequence[tuple[str, Phones]], *, labels: int = 64, iterations: int = 8
) -> Alignment:
    """Learns which phones each letter stands for.

    Args:
        pairs: words with their phones, such as ``("cat", ("K", "AE", "T"))``. Twenty thousand are enough for English.
        labels: the largest number of chunks: no phone, every phone, and the most frequent pairs of phones.
        iterations: number of iterations before the rare pairs are left out; as many follow after it.

    Returns:
        An `Alignment`.

    Raises:
        TypeError: the pairs are not words with their phones, or a number is not an integer.
        ValueError: no word has letters and phones, or there are more phones than labels.

    >>> words = [("cat", ("K", "AE", "T")), ("tact", ("T", "AE", "K", "T")), ("tax", ("T", "AE", "K", "S"))]
    >>> alignment = learn_alignment(words)
    >>> [alignment.chunks[tag] for tag in alignment.align(words)[2]]
    [('T',), ('AE',), ('K', 'S')]
    """
    if not any(word and phones for word, phones in _checked(pairs)):
        raise ValueError("pairs: got no word with letters and phones, expected at least one")
    singles = sorted({phone for _, phones in pairs for phone in phones})
    check_integer("labels", labels, len(singles) + 1)
    check_integer("iterations", iterations)
    letters = tuple(sorted({letter for word, _ in pairs for letter in word}))
    doubles = sorted({pair for _, phones in pairs for pair in itertools.pairwise(phones)})
    chunks: tuple[Phones, ...] = ((), *((phone,) for phone in singles), *doubles)
    sizes = (1, len(singles), len(doubles) or 1)
    start = np.array([START[len(chunk)] / sizes[len(chunk)] for chunk in chunks])
    counts = _iterate(pairs, Alignment(letters, chunks, np.tile(start, (len(letters), 1))), iterations)
    frequent = np.argsort(-counts.sum(axis=0)[len(singles) + 1 :], kind="stable") + len(singles) + 1
    kept = [*range(len(singles) + 1), *sorted(frequent[: labels - 1 - len(singles)].tolist())]
    fewer = Alignment(letters, tuple(chunks[index] for index in kept), _shares(counts[:, kept]))
    return fewer._replace(probabilities=_shares(_iterate(pairs, fewer, iterations)))


def _iterate(pairs: Sequence[tuple[str, Phones]], alignment: Alignment, iterations: int) -> np.ndarray:
    """The expected counts ``[letters, chunks]`` after some iterations of EM that start from an alignment."""
    groups, probabilities = list(_groups(pairs, alignment)), alignment.probabilities
    for _ in range(iterations):
        counts = np.sum([_expected_counts(group, probabilities) for group in groups], axis=0)
        probabilities = _shares(counts)
    return counts


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _checked(pairs: Sequence[tuple[str, Phones]]) -> Sequence[tuple[str, Phones]]:
    expected = 'words with their phones, as in [("cat", ("K", "AE", "T"))]'
    check_instance("pairs", pairs, (list, tuple), expected)
    for pair in pairs:
        known = isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)
        if not known or not isinstance(pair[1], list | tuple):
            raise TypeError(f"pairs: got {shown(pair)} in it, expected {expected}")
    return pairs


def _groups(pairs: Sequence[tuple[str, Phones]], alignment: Alignment) -> Iterator[_Group]:
    """The words of known letters by their numbers of letters and of phones, both at least 1."""
    row = {letter: index for index, letter in enumerate(alignment.letters)}
    column = {chunk: index for index, chunk in enumerate(alignment.chunks)}
    places = defaultdict(list)
    for place, (word, phones) in enumerate(pairs):
        if word and phones and row.keys() >= set(word):
            places[len(word), len(phones)].append(place)
    for members in places.values():
        words, spoken = [pairs[place][0] for place in members], [pairs[place][1] for place in members]
        ones = [[column.get((phone,), len(column)) for phone in phones] for phones in spoken]
        twos = [[column.get(pair, len(column)) for pair in itertools.pairwise(phones)] for phones in spoken]
        letters = [[row[letter] for letter in word] for word in words]
        yield _Group(np.array(members), np.array(letters), np.array(ones), np.array(twos, int))


def _expected_counts(group: _Group, probabilities: np.ndarray) -> np.ndarray:
    """How often each chunk is expected for each letter, over all alignments: ``[letters, chunks]``."""
    zero, one, two = group.emissions(probabilities)
    before = _forward(zero, one, two)[:, :-1]
    reverse = _forward(zero[:, ::-1], one[:, ::-1, ::-1], two[:, ::-1, ::-1])
    after, total = reverse[:, -2::-1, ::-1], reverse[:, -1, -1]
    share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)[:, None, None]
    counts = np.zeros((len(probabilities), probabilities.shape[1] + 1))
    nothing = np.zeros((1, 1, 1), int)
    known = ((nothing, zero[..., None]), (group.one[:, None], one), (group.two[:, None], two))
    for size, (chunks, emitted) in enumerate(known):
        expected = before[..., : before.shape[-1] - size] * emitted * after[..., size:] * share
        cells = np.broadcast_to(group.letters[..., None] * counts.shape[1] + chunks, expected.shape)
        counts += np.bincount(cells.ravel(), expected.ravel(), counts.size).reshape(counts.shape)
    return counts[:, :-1]


def _forward(zero: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The probability that the first i letters give the first j phones, summed over alignments: ``[n, L+1, P+1]``."""
    sums = [np.eye(1, one.shape[2] + 1).repeat(len(one), axis=0)]
    for letter in range(one.shape[1]):
        sums.append(_options(sums[-1], zero[:, letter], one[:, letter], two[:, letter]).sum(axis=0))
    return np.stack(sums, axis=1)


def _options(last: np.ndarray, zero: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """``[3, n, P + 1]``: the probabilities after a letter of no phone, one and two, from those before it."""
    options = np.zeros((3, *last.shape))
    options[0] = last * zero[:, None]
    options[1, :, 1:] = last[:, :-1] * one
    options[2, :, 2:] = last[:, :-2] * two
    return options


def _best_chunks(group: _Group, probabilities: np.ndarray) -> np.ndarray:
    """The chunks of the most probable alignment, int32 ``[n, L]``; -1 in a word that has none."""
    zero, one, two = group.emissions(probabilities)
    score, used = np.eye(1, one.shape[2] + 1).repeat(len(one), axis=0), []
    for letter in range(one.shape[1]):
        options = _options(score, zero[:, letter], one[:, letter], two[:, letter])
        score = options.max(axis=0)
        used.append(options.argmax(axis=0))
    rows, end = np.arange(len(one)), np.full(len(one), one.shape[2])
    best = np.zeros(group.letters.shape, np.int32)
    doubled = np.pad(group.two, ((0, 0), (0, 1)))
    for letter in reversed(range(one.shape[1])):
        size = used[letter][rows, end]
        end = end - size
        first = np.minimum(end, one.shape[2] - 1)
        chunks = np.stack([np.zeros_like(first), group.one[rows, first], doubled[rows, first]])
        best[:, letter] = chunks[size, rows]
    return np.where(score[:, -1:] > 0, best, np.int32(-1))
