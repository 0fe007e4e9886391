"""Convolutional cells against float64 loops over images, with padding in time, in every rank and precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.conv_cells import ConvGRUCell, ConvLSTMCell, correlate_same
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
LENGTHS = np.array([3, 0, 2])
IMAGE = (3, 2)
SHAPE = (3, 3, *IMAGE, 1)
KERNEL = (2, 3)  # one even size, one odd
CELLS = {
    "lstm": (ConvLSTMCell(2, KERNEL), reference.conv_lstm),
    "gru": (ConvGRUCell(2, KERNEL), reference.conv_gru),
}


@pytest.mark.parametrize("name", [pytest.param("lstm", marks=pytest.mark.slow), "gru"])
@whole_and_padded(LENGTHS)
def test_forward_and_all_gradients_equal_the_equations_in_a_loop(name, lengths, reverse, dtype):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, SHAPE, 0.5), lengths, reverse, dtype)


@pytest.mark.parametrize("name", some_slow(CELLS, ["gru"]))
@pytest.mark.parametrize("reverse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_padded_row_equals_the_trimmed_row_and_padding_does_nothing(name, reverse):
    cell = CELLS[name][0]
    check_padding(cell, problem(cell, SHAPE, 0.5), LENGTHS, reverse)


@pytest.mark.parametrize(
    ("make", "kernel_size", "image"),
    [
        (ConvLSTMCell, (3,), (4,)),
        pytest.param(ConvGRUCell, 3, (3, 2), marks=pytest.mark.slow),
        pytest.param(ConvLSTMCell, (2, 1, 3), (2, 3, 2), marks=pytest.mark.slow),
    ],
    ids=["1-d", "2-d", "3-d"],
)
def test_any_spatial_and_batch_rank_in_recurrent_in_flax_and_step_by_step(make, kernel_size, image):
    cell = make(2, kernel_size)
    params, inputs, _ = jax.tree.map(jnp.float32, parts(problem(cell, (4, 3, *image, 1), 0.5)))
    variables = {"params": {"cell": params}}

    @jax.jit
    def run(inputs):
        results = {}
        for batch in [(), (2, 1, 2)]:
            rows = inputs[: np.prod(batch, dtype=int)].reshape(*batch, *inputs.shape[1:])
            first = rows[(*[slice(None)] * len(batch), 0)]
            stepped = cell.apply({"params": params}, cell.initialize_carry(KEY, first.shape), first)
            results[batch] = dl.Recurrent(cell).apply(variables, rows), stepped
        return nn.RNN(cell, return_carry=True).apply(variables, inputs), results

    (carry, outputs), results = run(inputs)
    assert cell.num_feature_axes == len(image) + 1
    assert outputs.shape == (4, 3, *image, 2)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for batch, ((last, states), (after, output)) in results.items():
        rows = np.prod(batch, dtype=int)
        close(states, outputs[:rows].reshape(*batch, 3, *image, 2))
        close(output, outputs[:rows, 0].reshape(*batch, *image, 2))
        for part, flat in zip(jax.tree.leaves(last), jax.tree.leaves(carry), strict=True):
            close(part, flat[:rows].reshape(*batch, *image, 2))
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, last)


@pytest.mark.parametrize("shape", [(4, 1), (3, 2, 1), (2, 3, 2, 1)])
def test_convolution_of_any_batch_equals_the_loop(shape):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 2, *shape))
    kernel = generator.normal(size=(*[3] * (len(shape) - 1), 1, 2))
    expected = [[reference.convolved(image, kernel) for image in row] for row in values]
    outputs = jax.jit(correlate_same)(jnp.float32(values), jnp.float32(kernel))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    empty = jax.eval_shape(correlate_same, jnp.ones((0, *shape)), jnp.float32(kernel))
    assert empty.shape == (0, *shape[:-1], 2)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    cell = CELLS[name][0].clone(**settings)
    inputs = jax.ShapeDtypeStruct((2, 3, *IMAGE, 1), jnp.bfloat16)
    result, variables = jax.eval_shape(dl.Recurrent(cell).init_with_output, KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.bfloat16)}
    wanted = settings.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(wanted)}


@pytest.mark.parametrize("name", some_slow(CELLS, ["lstm"]))
def test_bfloat16_is_near_the_equations(name):
    cell, step = CELLS[name]
    params, inputs, state = parts(problem(cell, SHAPE, 0.5))
    arguments = jax.tree.map(jnp.float32, ({"params": params}, as_carry(state), inputs[:, 0]))
    stepped = jax.jit(cell.clone(dtype=jnp.bfloat16).apply)(*arguments)
    assert {leaf.dtype for leaf in jax.tree.leaves(stepped)} == {jnp.dtype(jnp.bfloat16)}
    _, expected = reference.unroll(step, params, inputs[:, :1], state)
    np.testing.assert_allclose(stepped[1].astype(jnp.float32), expected[:, 0], atol=0.05)


def test_initial_values_of_the_parameters():
    cell = ConvLSTMCell(2, 3, 3.0)
    inputs = jnp.ones((4, 4, 5))
    params = jax.jit(cell.init)(KEY, cell.initialize_carry(KEY, inputs.shape), inputs)["params"]
    assert {name: leaf.shape for name, leaf in params.items()} == {
        "input_kernel": (3, 3, 5, 8),
        "recurrent_kernel": (3, 3, 2, 8),
        "bias": (8,),
    }
    assert params["bias"].tolist() == [0.0, 0.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0]
    bare = ConvGRUCell(2, 3, use_bias=False)
    carry = bare.initialize_carry(KEY, inputs.shape)
    assert "bias" not in jax.eval_shape(bare.init, KEY, carry, inputs)["params"]


@pytest.mark.parametrize("make", [ConvLSTMCell, ConvGRUCell])
def test_settings_and_shapes_that_do_not_fit_are_refused(make):
    for arguments, error, message in [
        ((0, 3), ValueError, "features: got 0, expected an integer >= 1"),
        ((2, 0), ValueError, "kernel_size: got 0, expected an integer >= 1"),
        ((2, ()), ValueError, r"kernel_size: got \(\), expected one entry a spatial dimension"),
        ((2, (3, 2.5)), TypeError, r"kernel_size: got 2\.5, expected an integer"),
    ]:
        with pytest.raises(error, match=message):
            make(*arguments)
    few = r"inputs: got shape \(4, 1\), expected rank 3 or more: .*; give kernel_size one entry"
    with pytest.raises(ValueError, match=few):
        make(2, 3).init(KEY, jnp.ones((4, 2)), jnp.ones((4, 1)))
    with pytest.raises(
        ValueError, match=r"inputs: got shape \(4, 4, 1\), expected \[\*batch, T, \*spatial, features\]"
    ):
        dl.Recurrent(make(2, 3)).init(KEY, jnp.ones((4, 4, 1)))
    right = make(2, 3).initialize_carry(KEY, (4, 4, 4, 1))
    for wrong in (lambda part: part[..., :1], lambda part: part[:, :3], lambda part: part[0]):
        with pytest.raises(ValueError, match=r"^carry: got .*, expected .*\(4, 4, 4, 2\)"):
            make(2, 3).init(KEY, jax.tree.map(wrong, right), jnp.ones((4, 4, 4, 1)))
