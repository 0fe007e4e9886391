"""Metrics add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train.metrics import Average, accuracy


@pytest.mark.parametrize("cuts", [(0, 10), (3, 10), (1, 2, 5, 10)])
def test_averages_of_parts_add_to_the_average_of_the_whole(cuts):
    values = np.random.default_rng(0).normal(size=10).astype(np.float32)
    parts = [Average.of(part) for part in np.split(values, cuts[:-1])]
    whole = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    np.testing.assert_allclose(whole.value(), values.mean(), rtol=1e-5)


def test_nothing_averages_to_zero_and_masked_nan_is_not_seen():
    assert float(Average.of(jnp.zeros(0)).value()) == 0
    assert float(Average.of(jnp.array([2.0, jnp.nan]), jnp.array([True, False])).value()) == 2
    gradient = jax.grad(lambda x: Average.of(x, jnp.array([True, False])).value())(jnp.array([2.0, jnp.nan]))
    np.testing.assert_array_equal(gradient, [1, 0])


def test_accuracy_counts_valid_rows():
    logits = jnp.array([[1.0, 0], [0, 1], [0, 1]])
    labels = jnp.array([0, 1, 0])
    assert float(accuracy(logits, labels).value()) == pytest.approx(2 / 3)
    assert float(accuracy(logits, labels, jnp.array([True, True, False])).value()) == 1
