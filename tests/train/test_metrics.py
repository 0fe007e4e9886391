"""Metrics are sums over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train.metrics import Average, accuracy, expand_mask


@pytest.mark.parametrize("cuts", [(0, 10), (1, 2, 5, 10)])
def test_the_averages_of_parts_add_up_to_the_average_of_the_whole(cuts):
    values = np.random.default_rng(0).normal(size=10).astype(np.float32)

    @jax.jit
    def add_parts(parts):
        return jax.tree.map(lambda *leaves: sum(leaves), *map(Average.of, parts)).value()

    np.testing.assert_allclose(add_parts(np.split(values, cuts[:-1])), values.mean(), rtol=1e-5)


def test_an_empty_average_is_zero_and_masked_nan_changes_nothing():
    assert float(Average.of(jnp.zeros(0)).value()) == 0
    masked = jax.jit(jax.value_and_grad(lambda x: Average.of(x, np.array([True, False])).value()))
    value, gradient = masked(jnp.array([2.0, jnp.nan]))
    assert float(value) == 2
    np.testing.assert_array_equal(gradient, [1, 0])


def test_accuracy_counts_valid_rows():
    logits = jnp.array([[1.0, 0], [0, 1], [0, 1]])
    labels = jnp.array([0, 1, 0])
    assert float(accuracy(logits, labels).value()) == pytest.approx(2 / 3)
    assert float(accuracy(logits, labels, jnp.array([True, True, False])).value()) == 1


@pytest.mark.parametrize("mask_shape", [(2,), (2, 3), (2, 3, 4)])
def test_a_mask_leaves_out_rows_or_single_values(mask_shape):
    generator = np.random.default_rng(0)
    values, mask = generator.normal(size=(2, 3, 4)), generator.random(mask_shape) < 0.5
    mask[0] = True
    expanded = np.broadcast_to(mask.reshape(*mask_shape, *[1] * (3 - mask.ndim)), values.shape)
    np.testing.assert_array_equal(expand_mask(jnp.asarray(mask), values.shape), expanded)
    average = jax.jit(Average.of)(jnp.asarray(values, jnp.float32), jnp.asarray(mask))
    assert float(average.weight) == expanded.sum()
    assert float(average.value()) == pytest.approx(values[expanded].mean(), rel=1e-5)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="broadcast"):
        Average.of(jnp.ones((2, 3)), jnp.ones(3, bool))


def test_sums_on_the_host_are_read_without_the_device():
    average = Average(np.float64(3), np.float64(2))
    assert isinstance(average.value(), np.float64)
    assert average.value() == 1.5
