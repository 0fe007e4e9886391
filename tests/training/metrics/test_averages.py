"""Means are sums over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import Average, BitsPerToken, Perplexity


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


def test_a_traced_weight_below_0_makes_the_value_nan():
    assert np.isnan(jax.jit(lambda mask: Average.of(jnp.ones(2), mask).value())(jnp.array([1, -1])))


def test_integer_masks_count_like_booleans():
    for dtype in ("int8", "uint8", "int32"):
        average = Average.of(jnp.arange(300.0), jnp.ones(300, dtype))
        assert (float(average.weight), float(average.value())) == (300, 149.5)


def test_sums_are_float64_if_the_values_are():
    with jax.enable_x64(True):
        average = Average.of(jnp.array([1.0, 2.0**-40]))
        assert average.total.dtype == average.weight.dtype == jnp.float64
        assert float(average.total) == 1 + 2.0**-40
        assert Average.of(jnp.ones(2, jnp.float32)).total.dtype == jnp.float32


def test_a_batch_of_more_than_2_to_the_24_labels_counts_all():
    average = jax.jit(Average.of)(jnp.ones(2**24 + 2**10, bool))
    assert float(average.weight) == float(average.total) == 2**24 + 2**10


def test_sums_on_the_host_are_read_without_the_device():
    average = Average(np.float64(3), np.float64(2))
    assert isinstance(average.value(), np.float64)
    assert average.value() == 1.5


def test_the_perplexity_is_the_exponential_of_the_summed_mean():
    """The geometric mean of all probabilities, not the mean of the perplexities of batches."""
    first, second = Perplexity.of(np.log([2.0, 8.0])), Perplexity(*Average.of(np.log([1.0])))
    whole = jax.tree.map(jnp.add, first, second)
    assert isinstance(whole, Perplexity)
    assert whole.value() == pytest.approx(16 ** (1 / 3), rel=1e-6)
    assert Perplexity(np.float32(0), np.float32(0)).value() == 1
    assert Perplexity(np.float64(1e4), np.float64(1)).value() == np.inf


def test_bits_are_the_base_2_logarithm_of_the_perplexity():
    costs = np.random.default_rng(0).exponential(size=20).astype(np.float32)
    parts = [Average.of(part) for part in np.split(costs, [3, 11])]
    bits, perplexity = (
        jax.tree.map(lambda *leaves: sum(leaves), *(kind(*part) for part in parts)).value()
        for kind in (BitsPerToken, Perplexity)
    )
    assert bits == pytest.approx(costs.mean(dtype=np.float64) / np.log(2), rel=1e-6)
    assert bits == pytest.approx(np.log2(perplexity), rel=1e-6)
    assert BitsPerToken(np.float32(0), np.float32(0)).value() == 0
