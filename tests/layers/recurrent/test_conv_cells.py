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
from tests.helpers.reference import sigma
from tests.layers.recurrent.test_layer_norm_cells import check_equations, check_padding, parts

KEY = jax.random.key(0)
LENGTHS = np.array([3, 0, 2])
IMAGE = (3, 2)
KERNEL = (2, 3)  # one even, one odd


def convolved(x, kernel):
    """``[*spatial, C] -> [*spatial, K]``: each output looks at its neighbors, from (F - 1) // 2 places before it."""
    window = kernel.shape[:-2]
    around = np.pad(x, [*(((size - 1) // 2, size // 2) for size in window), (0, 0)])
    shifted = lambda tap: around[
        tuple(slice(at, at + size) for at, size in zip(tap, x.shape[:-1], strict=True))
    ]
    return sum(shifted(tap) @ kernel[tap] for tap in np.ndindex(*window))


def lstm(p, carry, x):
    c, h = carry
    z = convolved(x, p["input_kernel"]) + convolved(h, p["recurrent_kernel"]) + p["bias"]
    i, f, o, g = np.split(z, 4, axis=-1)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, sigma(o) * np.tanh(c)


def gru(p, h, x):
    w_z, w_r, w_g = np.split(p["input_kernel"], 3, axis=-1)
    u_z, u_r, u_g = np.split(p["recurrent_kernel"], 3, axis=-1)
    b_z, b_r, b_g = np.split(p["bias"], 3)
    z = sigma(convolved(x, w_z) + convolved(h, u_z) + b_z)
    r = sigma(convolved(x, w_r) + convolved(h, u_r) + b_r)
    return z * h + (1 - z) * np.tanh(convolved(x, w_g) + convolved(r * h, u_g) + b_g)


CELLS = {"lstm": (ConvLSTMCell(2, KERNEL), lstm), "gru": (ConvGRUCell(2, KERNEL), gru)}


def problem(cell, image=IMAGE):
    """Random parameters of the cell's shapes, inputs and initial carry: all that there is a gradient in."""
    generator = np.random.default_rng(1)
    carry = cell.initialize_carry(KEY, (3, *image, 1))
    shapes = jax.eval_shape(cell.init, KEY, carry, jnp.ones((3, *image, 1)))["params"]
    params = {name: generator.normal(size=leaf.shape) / 2 for name, leaf in shapes.items()}
    leaves = jax.tree.leaves(carry)
    state = {f"carry {part}": generator.normal(size=leaf.shape) for part, leaf in enumerate(leaves)}
    return params | state | {"inputs": generator.normal(size=(3, 3, *image, 1))}


def unroll(step, arguments, lengths, reverse):
    """`reference.unroll`, which knows vectors, over images."""
    params, inputs, state = parts(arguments)

    def flat(params, carry, x):
        carry = tuple(part.reshape(*IMAGE, -1) for part in (carry if isinstance(carry, tuple) else (carry,)))
        after = step(params, carry if len(carry) > 1 else carry[0], x)
        return tuple(part.ravel() for part in (after if isinstance(after, tuple) else (after,)))

    vectors = tuple(part.reshape(len(part), -1) for part in state)
    final, outputs = reference.unroll(flat, params, inputs, vectors, lengths, reverse)
    shaped = [part.reshape(whole.shape) for part, whole in zip(final, state, strict=True)]
    return shaped, outputs.reshape(*outputs.shape[:2], *state[0].shape[1:])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("lengths", "reverse", "dtypes"),
    [(None, False, ["float64"]), (LENGTHS, True, ["float64", "float32"])],
    ids=["whole", "reverse"],
)
def test_forward_and_all_gradients_equal_the_equations_in_a_loop(name, lengths, reverse, dtypes):
    cell, step = CELLS[name]
    of_loop = functools.partial(unroll, step, lengths=lengths, reverse=reverse)
    check_equations(cell, problem(cell), of_loop, lengths, reverse, dtypes)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_row_equals_the_trimmed_row_and_padding_does_nothing(name, reverse):
    cell = CELLS[name][0]
    check_padding(cell, problem(cell), LENGTHS, reverse)


@pytest.mark.parametrize(
    ("make", "kernel_size", "image"),
    [(ConvLSTMCell, (3,), (4,)), (ConvGRUCell, 3, (3, 2)), (ConvLSTMCell, (2, 1, 3), (2, 3, 2))],
    ids=["1-d", "2-d", "3-d"],
)
def test_any_number_of_spatial_and_batch_dimensions_in_recurrent_in_flax_and_step_by_step(
    make, kernel_size, image
):
    cell = make(2, kernel_size)
    params, inputs, _ = jax.tree.map(jnp.float32, parts(problem(cell, image)))
    inputs = jnp.concatenate([inputs, inputs[:1] / 2])
    variables = {"params": {"cell": params}}

    @functools.partial(jax.jit, static_argnums=0)
    def shaped(batch):
        own = inputs[: np.prod(batch, dtype=int)].reshape(*batch, *inputs.shape[1:])
        first = own[(*[slice(None)] * len(batch), 0)]
        stepped = cell.apply({"params": params}, cell.initialize_carry(KEY, first.shape), first)
        return dl.Recurrent(cell).apply(variables, own), stepped

    carry, outputs = jax.jit(nn.RNN(cell, return_carry=True).apply)(variables, inputs)
    assert cell.num_feature_axes == len(image) + 1
    assert outputs.shape == (4, 3, *image, 2)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for batch in [(), (4,), (2, 2), (2, 1, 2)]:
        rows = np.prod(batch, dtype=int)
        (last, states), (after, output) = shaped(batch)
        close(states, outputs[:rows].reshape(*batch, 3, *image, 2))
        close(output, outputs[:rows, 0].reshape(*batch, *image, 2))
        for part, flat in zip(jax.tree.leaves(last), jax.tree.leaves(carry), strict=True):
            close(part, flat[:rows].reshape(*batch, *image, 2))
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, last)


@pytest.mark.parametrize("shape", [(4, 1), (3, 2, 1), (2, 3, 2, 1)])
def test_convolution_of_any_batch_equals_the_loop(shape):
    generator = np.random.default_rng(0)
    values, kernel = (
        generator.normal(size=(2, 2, *shape)),
        generator.normal(size=(*[3] * (len(shape) - 1), 1, 2)),
    )
    expected = [[convolved(image, kernel) for image in row] for row in values]
    outputs = correlate_same(jnp.float32(values), jnp.float32(kernel))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert correlate_same(jnp.ones((0, *shape)), jnp.float32(kernel)).shape == (0, *shape[:-1], 2)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    cell = CELLS[name][0].clone(**settings)
    inputs = jax.ShapeDtypeStruct((2, 3, *IMAGE, 1), jnp.bfloat16)
    result, variables = jax.eval_shape(dl.Recurrent(cell).init_with_output, KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.bfloat16)}
    wanted = settings.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(wanted)}


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_is_near_the_equations(name):
    cell, step = CELLS[name]
    arguments = problem(cell)
    params, inputs, state = jax.tree.map(jnp.float32, parts(arguments))
    carry = state if len(state) > 1 else state[0]
    layer = cell.clone(dtype=jnp.bfloat16)
    stepped = jax.jit(layer.apply)({"params": params}, carry, inputs[:, 0])
    assert {leaf.dtype for leaf in jax.tree.leaves(stepped)} == {jnp.dtype(jnp.bfloat16)}
    _, expected = unroll(step, arguments | {"inputs": arguments["inputs"][:, :1]}, None, False)
    np.testing.assert_allclose(stepped[1].astype(jnp.float32), expected[:, 0], atol=0.05)


def test_parameters_begin_as_said():
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


def step(cell, carry=None, inputs=None):
    inputs = jnp.ones((4, 4, 4, 1)) if inputs is None else inputs
    carry = cell.initialize_carry(KEY, inputs.shape) if carry is None else carry
    return cell.init(KEY, carry, inputs)


@pytest.mark.parametrize("make", [ConvLSTMCell, ConvGRUCell])
def test_cells_refuse_what_does_not_fit(make):
    for arguments, error, message in [
        ((0, 3), ValueError, "features: got 0, expected an integer >= 1"),
        ((2, 0), ValueError, "kernel_size: got 0, expected an integer >= 1"),
        ((2, ()), ValueError, r"kernel_size: got \(\), expected one entry a spatial dimension"),
        ((2, (3, 2.5)), TypeError, r"kernel_size: got 2\.5, expected an integer"),
    ]:
        with pytest.raises(error, match=message):
            make(*arguments)
    with pytest.raises(TypeError, match="inputs: got int32, expected floating point numbers"):
        step(make(2, 3), inputs=jnp.ones((4, 4, 1), jnp.int32))
    few = r"inputs: got shape \(4, 1\), expected rank 3 or more: .*; give kernel_size one entry"
    with pytest.raises(ValueError, match=few):
        step(make(2, 3), jnp.ones((4, 2)), jnp.ones((4, 1)))
    with pytest.raises(ValueError, match=r"inputs: got shape \(4, 4, 1\)"):
        dl.Recurrent(make(2, 3)).init(KEY, jnp.ones((4, 4, 1)))
    right = make(2, 3).initialize_carry(KEY, (4, 4, 4, 1))
    for wrong in (lambda part: part[..., :1], lambda part: part[:, :3], lambda part: part[0]):
        carry = jax.tree.map(wrong, right)
        with pytest.raises(ValueError, match=r"^carry: got .*, expected .*\(4, 4, 4, 2\)"):
            step(make(2, 3), carry)
        with pytest.raises(ValueError, match=r"^initial_carry: got .*, expected .*\(4, 4, 4, 2\)"):
            dl.Recurrent(make(2, 3)).init(KEY, jnp.ones((4, 6, 4, 4, 1)), None, carry)
