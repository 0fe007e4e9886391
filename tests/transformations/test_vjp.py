"""Reverse mode against finite differences in float64, and in the narrower dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.layers import (
    CASES,
    LENGTHS,
    REFERENCES,
    assert_close,
    directions,
    dot,
    each,
    gradient_of,
    loss_of,
    moved,
)

STEP = 1e-5


@each(CASES)
def test_the_gradient_equals_finite_differences(name):
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        _, gradient = gradient_of(name)(arguments)
        if name in REFERENCES:
            expected = jax.jit(jax.grad(loss_of(REFERENCES[name])))(arguments)
            assert_close(gradient, expected, 1e-10)
            return
        direction = directions(arguments)
        before, after = (gradient_of(name)(moved(arguments, direction, by))[0] for by in (-STEP, STEP))
        expected, slope = (float(after) - float(before)) / (2 * STEP), float(dot(gradient, direction))
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("name", ["lstm, chunks", "conv lstm"])
def test_narrow_gradients_are_the_wide_ones_to_their_rounding(name, dtype, tolerance):
    arguments = CASES[name].arguments()
    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), arguments)
    with jax.enable_x64(True):
        rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), narrow)
        _, expected = jax.device_get(gradient_of(name)(rounded))
    _, gradient = gradient_of(name)(narrow)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(dtype)}
    as_float = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
    assert_close(as_float(gradient), expected, tolerance)


def test_padding_gets_no_gradient():
    with jax.enable_x64(True):
        _, gradient = gradient_of("lstm, chunks")(CASES["lstm, chunks"].arguments())
    padding = np.arange(4) >= LENGTHS[:, None]
    assert not np.asarray(gradient["inputs"])[padding].any()
