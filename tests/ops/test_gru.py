"""The GRU's equations in both forms against the NumPy loop, and its differential against JAX's."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops import gru
from tests.helpers import reference
from tests.helpers.equations import check_differential, check_step, random_weights

RESETS = ["before", "after"]


@pytest.mark.parametrize("reset", RESETS)
def test_a_step_equals_the_lectures(reset):
    step = functools.partial(reference.gru, reset=reset)
    check_step(gru.Gru(reset), step, gates=3, recurrent_bias=reset == "after")


@pytest.mark.parametrize("reset", RESETS)
def test_the_differential_is_the_derivative_of_the_step(reset):
    check_differential(gru.Gru(reset), gates=3, recurrent_bias=reset == "after")


@pytest.mark.parametrize("reset", RESETS)
def test_a_mask_leaves_the_path_of_the_kept_state(reset):
    """``h_t - z * h_{t-1}`` depends on the masked h only."""
    weights, inputs, hidden = random_weights(gates=3, recurrent_bias=reset == "after")
    mask = np.array([[0.0, 2.0, 2.0]])
    masked, saved = gru.Gru(reset).step(weights, hidden, inputs, mask)
    plain, same = gru.Gru(reset).step(weights, hidden * mask, inputs)
    np.testing.assert_array_equal(saved.update, same.update)
    np.testing.assert_allclose(
        masked - saved.update * hidden, plain - same.update * hidden * mask, rtol=1e-5, atol=1e-6
    )


def test_any_product_takes_the_place_of_the_matrix():
    drive, hidden = np.random.default_rng(0).normal(size=(2, 9)), np.full((2, 3), 0.5)
    z, r, g = gru.gates_and_candidate(
        jnp.float32(drive),
        jnp.float32(hidden),
        lambda h: jnp.concatenate([h, 2 * h], axis=-1),
        lambda h: 3 * h,
    )
    expected = reference.sigma(drive[:, :6] + np.repeat([0.5, 1.0], 3))
    np.testing.assert_allclose(np.concatenate([z, r], axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(g, np.tanh(drive[:, 6:] + 3 * expected[:, 3:] * 0.5), rtol=1e-5)
    assert gru.interpolate(0.25, 8.0, 4.0) == 5.0
