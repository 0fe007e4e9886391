"""A module on every time step: the same as on each step alone, and padding that does nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 2], np.int32)
VALID = np.arange(4) < LENGTHS[:, None]


def test_a_module_is_applied_to_every_valid_step():
    inputs = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    spoilt = np.where(VALID[..., None], inputs, np.float32(np.nan))
    layer = dl.TimeDistributed(nn.Dense(2, bias_init=nn.initializers.ones))

    @jax.jit
    def run(inputs):
        variables = layer.init(KEY, inputs, LENGTHS)
        loss = lambda variables: (layer.apply(variables, inputs, LENGTHS) ** 2).sum()
        return layer.apply(variables, inputs, LENGTHS), variables, jax.grad(loss)(variables)

    outputs, variables, gradient = run(inputs)
    module = variables["params"]["module"]
    np.testing.assert_allclose(
        outputs[VALID], inputs[VALID] @ module["kernel"] + module["bias"], rtol=1e-5, atol=1e-6
    )
    assert not outputs[~VALID].any()
    jax.tree.map(np.testing.assert_array_equal, run(spoilt), (outputs, variables, gradient))


def test_images_and_all_steps():
    layer = dl.TimeDistributed(dl.Conv(2, 3))
    inputs = np.random.default_rng(0).normal(size=(2, 3, 6, 6, 1)).astype(np.float32)
    maps, variables = jax.jit(layer.init_with_output)(KEY, inputs)
    alone = jax.jit(dl.Conv(2, 3).apply)({"params": variables["params"]["module"]}, inputs[1])
    np.testing.assert_allclose(maps[1], alone, rtol=1e-5, atol=1e-6)


def test_options_go_to_the_module():
    layer = dl.TimeDistributed(nn.Dropout(0.5))
    ones = jnp.ones((2, 3, 8))
    np.testing.assert_array_equal(layer.apply({}, ones, deterministic=True), ones)
    assert set(np.unique(layer.apply({}, ones, deterministic=False, rngs={"dropout": KEY}))) == {0, 2}


def test_inputs_without_time_are_refused():
    with pytest.raises(ValueError, match=r"inputs: got shape \(3, 5\), expected \[B, T, \.\.\.\]"):
        dl.TimeDistributed(nn.Dense(2)).init(KEY, jnp.ones((3, 5)))
    with pytest.raises(ValueError, match="lengths: got 5 in row 0, expected 0 to 4"):
        dl.TimeDistributed(nn.Dense(2)).init(KEY, jnp.ones((1, 4, 2)), jnp.array([5]))


def test_what_is_no_module_no_array_and_no_row_for_each_step_is_refused_by_name():
    with pytest.raises(TypeError, match=r"module: got 4, expected a module such as nn.Dense"):
        dl.TimeDistributed(4)
    for wrong in ([[[1.0]]], None, np.ma.masked_array(np.ones((1, 2, 3)), True)):
        with pytest.raises(TypeError, match=r"inputs: got .*, expected an array"):
            dl.TimeDistributed(nn.Dense(2)).init(KEY, wrong)
    with pytest.raises(TypeError, match="module's output: got"):
        dl.TimeDistributed(nn.Sequential([lambda x: (x, x)])).init(KEY, jnp.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"module's output: got shape \(3,\), expected 2 rows"):
        dl.TimeDistributed(nn.Sequential([lambda x: x.sum(0)])).init(KEY, jnp.ones((1, 2, 3)))


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_no_rows_and_no_steps_give_none(shape):
    outputs, _ = dl.TimeDistributed(nn.Dense(2)).init_with_output(KEY, jnp.ones(shape))
    assert outputs.shape == (*shape[:2], 2)
