"""Weights summed by place, against a loop."""

import jax
import numpy as np
import pytest

from dlcore.training.metrics.bins import sum_by_place


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_each_place_has_the_sum_of_its_weights(dtype):
    generator = np.random.default_rng(0)
    rows, columns = generator.integers(0, 3, (2, 4, 5))
    weights = (generator.uniform(0, 2, (4, 5)) * (generator.random((4, 5)) < 0.6)).astype(dtype)
    expected = np.zeros((3, 4))
    for place in np.ndindex(4, 5):
        expected[rows[place], columns[place]] += weights[place]
    summed = jax.jit(sum_by_place, static_argnums=2)
    sums = summed((rows, columns), weights, (3, 4))
    assert sums.dtype == np.float32
    np.testing.assert_allclose(sums, expected, rtol=1e-6)
    for outside in (-1, 3):
        rows[0, 0], weights[0, 0] = outside, 0
        assert np.isfinite(summed((rows, columns), weights, (3, 4))).all()
        weights[0, 0] = 1
        assert np.isnan(summed((rows, columns), weights, (3, 4))).all()


@pytest.mark.slow
def test_more_than_2_to_the_24_places_are_all_counted():
    """A float32 sum stays at 2^24 if ones are added to it."""
    count = 2**24 + 2**10
    sums = sum_by_place((np.zeros(count, np.int8),), np.ones(count, bool), (1,))
    assert float(sums[0]) == count
