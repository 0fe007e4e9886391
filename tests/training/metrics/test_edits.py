"""Edit distances are those of the textbook, and error rates count the closest reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import (
    edit_distance,
    error_rates,
    exact_match,
    sequence_error_rate,
    token_error_rate,
)


def distance(first, second):
    """The definition, in plain Python."""

    @functools.cache
    def between(i, j):
        if not i or not j:
            return i + j
        same = between(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(first), len(second))


def random_sequences(*shape, seed=0, longest=6):
    generator = np.random.default_rng(seed)
    return generator.integers(1, 4, (*shape, longest)), generator.integers(0, longest + 1, shape)


def test_distances_are_those_of_the_definition():
    predicted, lengths = random_sequences(200)
    labels, label_lengths = random_sequences(200, seed=1, longest=5)
    lengths[:4], label_lengths[2:6] = 0, 0
    found = jax.jit(edit_distance)(predicted, lengths, labels, label_lengths)
    expected = [
        distance(tuple(first[:m]), tuple(second[:n]))
        for first, m, second, n in zip(predicted, lengths, labels, label_lengths, strict=True)
    ]
    assert found.tolist() == expected
    assert found.dtype == jnp.int32


@pytest.mark.parametrize(("width", "other"), [(0, 3), (3, 0), (0, 0)])
def test_sequences_without_places_have_the_length_of_the_other(width, other):
    found = edit_distance(np.ones((1, width), int), [width], np.ones((1, other), int), [other])
    assert found.tolist() == [width + other]


def test_rates_count_the_closest_reference():
    predicted, lengths = random_sequences(50)
    labels, label_lengths = random_sequences(50, 3, seed=1)
    label_lengths[:, 2], label_lengths[:5, 1], label_lengths[0] = -1, -1, -1
    mask = np.arange(50) % 4 > 0
    edits = tokens = matches = 0
    for row in np.flatnonzero(mask):
        known = [
            tuple(labels[row, r, : label_lengths[row, r]]) for r in range(3) if label_lengths[row, r] >= 0
        ]
        written = tuple(predicted[row, : lengths[row]])
        closest = min(known, key=lambda reference: distance(written, reference))
        edits, tokens = edits + distance(written, closest), tokens + len(closest)
        matches += written in known
    arguments = predicted, lengths, labels, label_lengths, mask
    assert tuple(map(float, jax.jit(token_error_rate)(*arguments))) == (edits, tokens)
    assert tuple(map(float, jax.jit(exact_match)(*arguments))) == (matches, mask.sum())
    assert tuple(map(float, sequence_error_rate(*arguments))) == (mask.sum() - matches, mask.sum())
    batch = {"references": labels, "reference_lengths": label_lengths, "mask": mask}
    both = error_rates(predicted, lengths, batch, ("phones", "words"))
    assert {name: tuple(map(float, rate)) for name, rate in both.items()} == {
        "phones": (edits, tokens),
        "words": (mask.sum() - matches, mask.sum()),
    }
    assert matches


def test_a_row_without_references_does_not_count():
    rate = token_error_rate(np.ones((2, 3), int), [3, 3], np.ones((2, 1, 2), int), np.array([[-1], [2]]))
    assert tuple(map(float, rate)) == (1, 2)


def test_shapes_that_do_not_fit_are_refused():
    tokens, lengths = np.ones((2, 3), int), np.array([3, 3])
    with pytest.raises(ValueError, match=r"label_lengths: got \(3,\) for tokens \(2, 3\)"):
        edit_distance(tokens, lengths, tokens, np.ones(3, int))
    with pytest.raises(ValueError, match=r"labels: got \(3, 3\) for predicted of shape \(2, 3\)"):
        edit_distance(tokens, lengths, np.ones((3, 3), int), np.ones(3, int))
    with pytest.raises(ValueError, match=r"label_lengths: got \(2, 1\) for 4 references a row"):
        token_error_rate(tokens, lengths, np.ones((2, 4, 3), int), np.ones((2, 1), int))
    with pytest.raises(ValueError, match=r"expected \[B, N\] or \[B, R, N\]"):
        exact_match(tokens, lengths, np.ones((2, 4, 3, 1), int), lengths)
