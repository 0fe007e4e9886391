"""LSTMs with peepholes and projections against the papers' equations in plain float64 loops, and against torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from tests.helpers import reference
from tests.helpers.cells import check_equations, problem, some_slow

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 1, 3], np.int32)
CELLS = {
    "peephole": (dl.PeepholeLSTMCell(3), reference.peephole_lstm),
    "projected": (dl.ProjectedLSTMCell(4, projection=3), reference.projected_lstm),
}


@pytest.mark.parametrize("name", CELLS)
def test_forward_and_all_gradients_equal_the_papers_loop(name):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, (4, 4, 2)), LENGTHS, True, "float64")


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_whole_rows_in_float32_equal_the_loop(name):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, (4, 4, 2)), None, False, "float32")


@pytest.mark.parametrize("name", some_slow(CELLS, ["projected"]))
def test_zoneout_averages_old_and_new_state_in_evaluation(name):
    cell, step = CELLS[name]
    arguments = problem(cell, (3, 1, 2))
    params = {key: array for key, array in arguments.items() if key.endswith(("kernel", "bias"))}
    state = tuple(arguments[f"carry {part}"] for part in range(2))
    noisy = cell.clone(zoneout=(0.2, 0.5))
    typed = jax.tree.map(jnp.float32, ({"params": params}, state, arguments["inputs"][:, 0]))
    carry, _ = jax.jit(noisy.apply)(*typed)
    new, _ = reference.unroll(step, params, arguments["inputs"], state)
    for part, (rate, old) in enumerate(zip((0.2, 0.5), state, strict=True)):
        np.testing.assert_allclose(carry[part], rate * old + (1 - rate) * new[part], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_the_gates_are_those_of_the_step(name):
    """The output gate of a cell with peepholes sees the new memory."""
    cell, _ = CELLS[name]
    arguments = problem(cell, (3, 1, 2))
    p = {key: array for key, array in arguments.items() if key.endswith(("kernel", "bias"))}
    c, h = (arguments[f"carry {part}"] for part in range(2))
    x = arguments["inputs"][:, 0]
    z_i, z_f, z_o, z_g = np.split(x @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"], 4, axis=1)
    p_i, p_f, p_o = np.split(p.get("peephole_kernel", np.zeros(3 * cell.features)), 3)
    i, f = reference.sigma(z_i + p_i * c), reference.sigma(z_f + p_f * c)
    new = f * c + i * np.tanh(z_g)
    typed = jax.tree.map(jnp.float32, ({"params": p}, (c, h), x))
    gates = cell.apply(*typed, method="gate_values")
    assert list(gates) == ["input", "forget", "output"]
    for gate, expected in zip(gates.values(), (i, f, reference.sigma(z_o + p_o * new)), strict=True):
        np.testing.assert_allclose(gate, expected, rtol=1e-5, atol=1e-6)


def test_the_projected_layer_and_its_gradients_equal_torchs():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    module = torch.nn.LSTM(2, 5, proj_size=3, batch_first=True, dtype=torch.float64)
    inputs = np.random.default_rng(0).normal(size=(3, 4, 2))
    theirs = torch.tensor(inputs, requires_grad=True)
    outputs, (h, c) = module(theirs)
    ((outputs**2).sum() + (c**3).sum()).backward()
    grad = lambda name: getattr(module, f"{name}_l0").grad.numpy()
    value = lambda name: getattr(module, f"{name}_l0").detach().numpy()

    def ours(of, biases):
        """torch stacks i, f, g, o as rows."""
        order = lambda array: np.concatenate([np.split(array, 4)[gate] for gate in (0, 1, 3, 2)])
        return {
            "input_kernel": order(of("weight_ih")).T,
            "recurrent_kernel": order(of("weight_hh")).T,
            "bias": order(sum(of(name) for name in biases)),
            "projection_kernel": of("weight_hr").T,
        }

    layer = dl.Recurrent(dl.ProjectedLSTMCell(5, projection=3))

    def loss(params, inputs):
        (cell, hidden), outputs = layer.apply({"params": {"cell": params}}, inputs)
        return (outputs**2).sum() + (cell**3).sum(), (cell, hidden, outputs)

    with jax.enable_x64(True):
        params = ours(value, ("bias_ih", "bias_hh"))
        gradients, values = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, inputs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    for got, expected in zip(values, (c[0], h[0], outputs), strict=True):
        close(got, expected.detach().numpy())
    jax.tree.map(close, gradients, (ours(grad, ("bias_ih",)), theirs.grad.numpy()))


@pytest.mark.slow
def test_with_peepholes_of_zero_the_cell_starts_as_an_lstm():
    cell, lstm, inputs = dl.PeepholeLSTMCell(3), dl.LSTMCell(3), np.ones((2, 3, 2), np.float32)

    @jax.jit
    def run(inputs):
        ours, variables = dl.Recurrent(cell).init_with_output(KEY, inputs)
        params = {"params": {"cell": dict(variables["params"]["cell"])}}
        peepholes = params["params"]["cell"].pop("peephole_kernel")
        return ours, dl.Recurrent(lstm).apply(params, inputs), peepholes

    ours, theirs, peepholes = run(inputs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), ours, theirs)
    assert peepholes.tolist() == [0] * 9


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    layer = dl.Bidirectional(CELLS[name][0].clone(**settings), CELLS[name][0].clone(**settings))
    inputs = jax.ShapeDtypeStruct((2, 3, 2), jnp.bfloat16)
    result, _ = jax.eval_shape(layer.init_with_output, KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.bfloat16)}
    assert result[1].shape == (2, 3, 6)


def test_the_width_of_the_output():
    for features, projection, width in ((8, None, 2), (3, None, 1), (4, 9, 9)):
        cell = dl.ProjectedLSTMCell(features, projection=projection)
        assert [part.shape for part in cell.initialize_carry(KEY, (2, 5))] == [(2, features), (2, width)]
    stack = dl.DeepRecurrent(dl.ProjectedLSTMCell(8), layers=3, residual=True)
    (carry, outputs), _ = jax.eval_shape(stack.init_with_output, KEY, jnp.ones((2, 5, 3)))
    assert outputs.shape == (2, 5, 2)
    assert jax.tree.map(jnp.shape, carry) == ((3, 2, 8), (3, 2, 2))
    with pytest.raises(ValueError, match="projection: got 0, expected an integer >= 1"):
        dl.ProjectedLSTMCell(4, projection=0)
    with pytest.raises(TypeError, match=r"projection: got 2\.5, expected an integer >= 1"):
        dl.ProjectedLSTMCell(4, projection=2.5)
