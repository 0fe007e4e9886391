"""``jax.vmap`` over parameters and inputs: each result is that of its own call."""

import jax
import numpy as np

from tests.helpers.layers import CASES, FEW, assert_close, each, gradient_of, loss_of


@each(FEW)
def test_values_and_gradients_under_vmap_are_those_of_each_call(name):
    with jax.enable_x64(True):
        both = [CASES[name].arguments(seed) for seed in (0, 1)]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *both)
        result = jax.jit(jax.vmap(jax.value_and_grad(loss_of(CASES[name]))))(stacked)
        expected = jax.tree.map(lambda *leaves: np.stack(leaves), *map(gradient_of(name), both))
    assert_close(result, expected, 1e-10)
