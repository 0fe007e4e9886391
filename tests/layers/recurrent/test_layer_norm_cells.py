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
from tests.helpers.reference import sigma

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 1, 3])


def normalized(z, epsilon=1e-5):
    centered = z - z.mean()
    return centered / np.sqrt((centered * centered).mean() + epsilon)


def gate(p, number, x, h):
    """The sum that enters one gate of three units."""
    own = slice(3 * number, 3 * number + 3)
    of_input = normalized(x @ p["input_kernel"][:, own]) * p["input_scale"][own]
    return (
        of_input + normalized(h @ p["recurrent_kernel"][:, own]) * p["recurrent_scale"][own] + p["bias"][own]
    )


def lstm(p, carry, x):
    c, h = carry
    i, f, o, g = (gate(p, number, x, h) for number in range(4))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, sigma(o) * np.tanh(normalized(c) * p["cell_scale"] + p["cell_bias"])


def gru(p, h, x):
    z, r = sigma(gate(p, 0, x, h)), sigma(gate(p, 1, x, h))
    return z * h + (1 - z) * np.tanh(gate(p, 2, x, r * h))


CELLS = {"lstm": (LayerNormLSTMCell(3), lstm), "gru": (LayerNormGRUCell(3), gru)}


def problem(cell):
    """Random parameters of the cell's shapes, inputs and initial carry: all that there is a gradient in."""
    generator = np.random.default_rng(1)
    carry = cell.initialize_carry(KEY, (4, 2))
    shapes = jax.eval_shape(cell.init, KEY, carry, jnp.ones((4, 2)))["params"]
    params = {name: generator.normal(size=leaf.shape) for name, leaf in shapes.items()}
    state = {f"carry {part}": generator.normal(size=(4, 3)) for part in range(len(jax.tree.leaves(carry)))}
    return params | state | {"inputs": generator.normal(size=(4, 4, 2))}


def parts(arguments):
    """Parameters, inputs and the parts of the carry."""
    state = tuple(arguments[name] for name in sorted(arguments) if name.startswith("carry"))
    names = [name for name in arguments if name != "inputs" and not name.startswith("carry")]
    return {name: arguments[name] for name in names}, arguments["inputs"], state


@functools.cache
def differentiated(cell, reverse=False):
    """``arguments, lengths, weights [B] of rows -> gradients, (carry, outputs)`` in `Recurrent`."""
    layer = dl.Recurrent(cell, reverse=reverse)

    def loss(arguments, lengths, rows):
        params, inputs, state = parts(arguments)
        carry = state if len(state) > 1 else state[0]
        carry, outputs = layer.apply({"params": {"cell": params}}, inputs, lengths, carry)
        return functional(jax.tree.leaves(carry), outputs, rows), (carry, outputs)

    return jax.jit(jax.grad(loss, has_aux=True))


def functional(carry, outputs, rows):
    """A number to which every output and every part of the carry counts differently."""
    weights = np.cos(np.arange(np.prod(outputs.shape[1:]))).reshape(outputs.shape[1:])
    each = [outputs * weights, *(part * part for part in carry)]
    return (rows * sum(part.reshape(len(rows), -1).sum(1) for part in each)).sum()


def check_equations(cell, arguments, unroll, lengths, reverse, dtypes):
    """That outputs, carry and all gradients are those of ``unroll(arguments) -> carry, outputs`` in float64."""
    rows = np.ones(len(arguments["inputs"]))
    final, outputs = unroll(arguments)
    gradients = reference.gradients(lambda moved: functional(*unroll(moved), rows), arguments)
    for dtype in dtypes:
        tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
        with jax.enable_x64(dtype == "float64"):
            typed = {key: jnp.asarray(array, dtype) for key, array in arguments.items()}
            actual, (carry, states) = differentiated(cell, reverse)(typed, lengths, jnp.asarray(rows, dtype))
        assert {leaf.dtype for leaf in jax.tree.leaves((actual, carry, states))} == {jnp.dtype(dtype)}
        np.testing.assert_allclose(states, outputs, rtol=tolerance, atol=tolerance)
        for part, expected in zip(jax.tree.leaves(carry), final, strict=True):
            np.testing.assert_allclose(part, expected, rtol=tolerance, atol=tolerance)
        for key, gradient in gradients.items():
            atol = tolerance * max(1.0, np.abs(gradient).max())
            np.testing.assert_allclose(actual[key], gradient, rtol=0, atol=atol, err_msg=key)


def check_padding(cell, arguments, lengths, reverse):
    """That padding does nothing, and the last row, which has some, is what it is without; row 1 has no step."""
    function = differentiated(cell, reverse)
    arguments = {key: jnp.asarray(array, jnp.float32) for key, array in arguments.items()}
    steps, own = arguments["inputs"].shape[1], lengths[-1]
    valid = np.arange(steps) < lengths[:, None]
    mask = valid.reshape(*valid.shape, *[1] * (arguments["inputs"].ndim - 2))
    padded = [arguments | {"inputs": jnp.where(mask, arguments["inputs"], value)} for value in (0, jnp.nan)]
    clean, spoilt = (function(filled, lengths, jnp.ones(len(lengths))) for filled in padded)
    jax.tree.map(np.testing.assert_array_equal, spoilt, clean)
    carry, outputs = clean[1]
    assert not np.asarray(outputs)[~valid].any()
    for part, before in zip(jax.tree.leaves(carry), parts(arguments)[2], strict=True):
        np.testing.assert_array_equal(part[1], before[1])

    gradients, _ = function(padded[0], lengths, jnp.eye(len(lengths))[-1])  # of the last row alone
    last = lambda tree: {
        key: of[-1:] if key.startswith(("carry", "inputs")) else of for key, of in tree.items()
    }
    row = last(arguments) | {"inputs": arguments["inputs"][-1:, :own]}
    trimmed, (own_carry, own_outputs) = function(row, None, jnp.ones(1))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    close(outputs[-1:, :own], own_outputs)
    jax.tree.map(lambda part, alone: close(part[-1:], alone), carry, own_carry)
    of_row = last(gradients) | {"inputs": gradients["inputs"][-1:, :own]}
    # Sums over rows of other numbers are rounded otherwise.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), of_row, trimmed)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("lengths", "reverse", "dtypes"),
    [(None, False, ["float64"]), (LENGTHS, True, ["float64", "float32"])],
    ids=["whole", "reverse"],
)
def test_forward_and_all_gradients_equal_the_equations_in_a_loop(name, lengths, reverse, dtypes):
    cell, step = CELLS[name]

    def unroll(arguments):
        params, inputs, state = parts(arguments)
        return reference.unroll(step, params, inputs, state, lengths, reverse)

    check_equations(cell, problem(cell), unroll, lengths, reverse, dtypes)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_row_equals_the_trimmed_row_and_padding_does_nothing(name, reverse):
    cell = CELLS[name][0]
    check_padding(cell, problem(cell), LENGTHS, reverse)


@pytest.mark.parametrize("name", CELLS)
def test_any_number_of_batch_dimensions_in_recurrent_in_flax_and_step_by_step(name):
    cell = CELLS[name][0]
    params, inputs, _ = jax.tree.map(jnp.float32, parts(problem(cell)))
    variables = {"params": {"cell": params}}

    @functools.partial(jax.jit, static_argnums=0)
    def shaped(batch):
        own = inputs[: np.prod(batch, dtype=int)].reshape(*batch, 4, 2)
        initial = cell.initialize_carry(KEY, (*batch, 2))
        stepped = cell.apply({"params": params}, initial, own[..., 0, :])
        return dl.Recurrent(cell).apply(variables, own), stepped

    carry, outputs = jax.jit(nn.RNN(cell, return_carry=True).apply)(variables, inputs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    for batch in [(), (4,), (2, 2), (2, 1, 2)]:
        rows = np.prod(batch, dtype=int)
        (last, states), (after, output) = shaped(batch)
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


@pytest.mark.parametrize("name", CELLS)
def test_bfloat16_is_near_the_equations(name):
    cell, step = CELLS[name]
    params, inputs, state = parts(problem(cell))
    variables = {"params": {"cell": params}}
    arguments = jax.tree.map(jnp.float32, (variables, inputs, state if len(state) > 1 else state[0]))
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


def test_parameters_begin_as_said():
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


@pytest.mark.parametrize("name", CELLS)
def test_of_a_single_input_feature_little_more_than_the_sign_is_seen(name):
    cell = CELLS[name][0].clone(recurrent_kernel_init=nn.initializers.zeros)
    carry = cell.initialize_carry(KEY, (3, 1))
    (_, outputs), _ = jax.jit(cell.init_with_output)(KEY, carry, jnp.array([[1.0], [2.0], [-1.0]]))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)
    assert np.abs(outputs[0] - outputs[2]).max() > 0.1


def step(cell, carry=None, inputs=None):
    inputs = jnp.ones((4, 5)) if inputs is None else inputs
    carry = cell.initialize_carry(KEY, inputs.shape) if carry is None else carry
    return cell.init(KEY, carry, inputs)


@pytest.mark.parametrize("make", [LayerNormLSTMCell, LayerNormGRUCell])
def test_cells_refuse_what_does_not_fit(make):
    with pytest.raises(ValueError, match="features: got 1, expected an integer >= 2"):
        make(1)
    with pytest.raises(TypeError, match=r"features: got 2\.5, expected an integer"):
        make(2.5)
    with pytest.raises(TypeError, match="inputs: got int32, expected floating point numbers"):
        step(make(3), inputs=jnp.ones((4, 5), jnp.int32))
    with pytest.raises(
        ValueError, match=r"inputs: got shape \(\), expected rank 1 or more: \[\.\.\., features\]"
    ):
        step(make(3), inputs=jnp.ones(()))
    wrong = jax.tree.map(lambda part: part[:, :2], make(3).initialize_carry(KEY, (4, 5)))
    with pytest.raises(ValueError, match=r"carry: got .*\(4, 2\).*, expected .*\(4, 3\)"):
        step(make(3), wrong)
    with pytest.raises(ValueError, match=r"initial_carry: got .*\(4, 2\).*, expected .*\(4, 3\)"):
        dl.Recurrent(make(3)).init(KEY, jnp.ones((4, 6, 5)), None, wrong)
