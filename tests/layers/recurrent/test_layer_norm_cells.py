"""Cells with layer normalization against plain float64 loops, with padding, in every batch rank and precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.layer_norm_cells import LayerNormGRUCell, LayerNormLSTMCell, layer_norm
from tests.helpers import reference
from tests.helpers.cells import (
    as_carry,
    check_equations,
    check_padding,
    parts,
    problem,
    some_slow,
    whole_and_padded,
)

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 1, 3])
SHAPE = (4, 4, 2)
CELLS = {
    "lstm": (LayerNormLSTMCell(3), reference.layer_norm_lstm),
    "gru": (LayerNormGRUCell(3), reference.layer_norm_gru),
}


# The default run has the LSTM's equations without gradients in test_cell.py.
@pytest.mark.parametrize("name", some_slow(CELLS, ["gru"]))
@whole_and_padded(LENGTHS)
def test_forward_and_all_gradients_equal_the_equations_in_a_loop(name, lengths, reverse, dtype):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, SHAPE), lengths, reverse, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [True, False])
def test_a_padded_row_equals_the_trimmed_row_and_padding_does_nothing(name, reverse):
    cell = CELLS[name][0]
    check_padding(cell, problem(cell, SHAPE), LENGTHS, reverse)


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_any_batch_rank_in_recurrent_in_flax_and_step_by_step(name):
    cell = CELLS[name][0]
    params, inputs, _ = jax.tree.map(jnp.float32, parts(problem(cell, SHAPE)))
    variables = {"params": {"cell": params}}

    @jax.jit
    def run(inputs):
        results = {}
        for batch in [(), (2, 1, 2)]:
            rows = inputs[: np.prod(batch, dtype=int)].reshape(*batch, *SHAPE[1:])
            carry = cell.initialize_carry(KEY, (*batch, 2))
            stepped = cell.apply({"params": params}, carry, rows[..., 0, :])
            results[batch] = dl.Recurrent(cell).apply(variables, rows), stepped
        return nn.RNN(cell, return_carry=True).apply(variables, inputs), results

    (carry, outputs), results = run(inputs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for batch, ((last, states), (after, output)) in results.items():
        rows = np.prod(batch, dtype=int)
        close(states, outputs[:rows].reshape(*batch, 4, 3))
        close(output, outputs[:rows, 0].reshape(*batch, 3))
        for part, flat in zip(jax.tree.leaves(last), jax.tree.leaves(carry), strict=True):
            close(part, flat[:rows].reshape(*batch, 3))
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, last)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    cell = CELLS[name][0].clone(**settings)
    inputs = jax.ShapeDtypeStruct((2, 3, 2), jnp.bfloat16)
    result, variables = jax.eval_shape(dl.Recurrent(cell).init_with_output, KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.bfloat16)}
    wanted = settings.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(wanted)}
    carry = jax.tree.map(lambda part: part.astype(jnp.float32), cell.initialize_carry(KEY, (2, 2)))
    stepped = jax.eval_shape(cell.init_with_output, KEY, carry, inputs.update(shape=(2, 2)))[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(stepped)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("name", some_slow(CELLS, ["lstm"]))
def test_bfloat16_is_near_the_equations(name):
    cell, step = CELLS[name]
    params, inputs, state = parts(problem(cell, SHAPE))
    arguments = jax.tree.map(jnp.float32, ({"params": {"cell": params}}, inputs, as_carry(state)))
    layer = jax.jit(dl.Recurrent(cell.clone(dtype=jnp.bfloat16)).apply)
    _, outputs = layer(*arguments[:2], None, arguments[2])
    assert outputs.dtype == jnp.bfloat16
    _, expected = reference.unroll(step, params, inputs, state)
    np.testing.assert_allclose(outputs.astype(jnp.float32), expected, atol=0.05)


def test_layer_norm_has_the_precision_of_float32_in_bfloat16():
    values = (100 + jax.random.normal(KEY, (64,))).astype(jnp.bfloat16)
    outputs = layer_norm(values, 0.0)
    assert outputs.dtype == jnp.bfloat16
    exact = np.asarray(values, np.float64)
    np.testing.assert_allclose(outputs.astype(jnp.float32), (exact - exact.mean()) / exact.std(), rtol=2**-8)


def test_initial_values_of_the_parameters():
    inputs = jnp.ones((2, 5))
    cell = LayerNormLSTMCell(8, 3.0)
    carry = cell.initialize_carry(KEY, (2, 5))
    params = jax.jit(cell.init)(KEY, carry, inputs)["params"]
    assert params["bias"].tolist() == [0.0] * 8 + [3.0] * 8 + [0.0] * 16
    assert all((params[name] == 1).all() for name in ("input_scale", "recurrent_scale", "cell_scale"))
    for block in np.split(np.asarray(params["recurrent_kernel"], np.float64), 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-5)
    bare = cell.clone(use_bias=False)
    (_, outputs), variables = jax.eval_shape(bare.init_with_output, KEY, carry, inputs)
    assert outputs.shape == (2, 8)
    assert not [name for name in variables["params"] if "bias" in name]


def test_little_more_than_the_sign_of_a_single_input_feature_is_seen():
    cell = LayerNormGRUCell(3, recurrent_kernel_init=nn.initializers.zeros)
    (_, outputs), _ = jax.jit(cell.init_with_output)(
        KEY, jnp.zeros((3, 3)), jnp.array([[1.0], [2.0], [-1.0]])
    )
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)
    assert np.abs(outputs[0] - outputs[2]).max() > 0.1


@pytest.mark.parametrize("make", [LayerNormLSTMCell, LayerNormGRUCell])
def test_a_single_unit_is_refused(make):
    with pytest.raises(ValueError, match="features: got 1, expected an integer >= 2"):
        make(1)
