"""Every cell against the lecture's equations in plain float64 loops, and what cells promise beside them."""

import functools
import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from tests.helpers import reference

KEY = jax.random.key(0)
CELLS = {
    "rnn": (dl.RNNCell(3), reference.rnn),
    "rnn, relu": (
        dl.RNNCell(3, activation=nn.relu),
        functools.partial(reference.rnn, activation=reference.relu),
    ),
    "rnn, direct": (dl.RNNCell(3, connections="direct"), reference.rnn),
    "rnn, lateral": (dl.RNNCell(3, connections="lateral"), reference.rnn),
    "identity": (dl.IdentityRNNCell(3), functools.partial(reference.rnn, activation=reference.relu)),
    "residual": (dl.ResidualRNNCell(3), reference.residual),
    "residual, feedback": (dl.ResidualRNNCell(3, feedback=True), reference.residual),
    "lstm": (dl.LSTMCell(3), reference.lstm),
    "gru": (dl.GRUCell(3), reference.gru),
    "gru, after": (dl.GRUCell(3, reset="after"), functools.partial(reference.gru, reset="after")),
}
LENGTHS = np.array([4, 0, 1, 3], np.int32)


def randomized(cell, inputs, seed=0):
    """Random parameters of the cell's shapes in float64, so that biases and all blocks count."""
    generator = np.random.default_rng(seed)
    carry = cell.initialize_carry(KEY, inputs.shape[1:])
    shapes = jax.eval_shape(cell.init, KEY, carry, jax.ShapeDtypeStruct(inputs.shape[1:], jnp.float32))[
        "params"
    ]
    params = {name: generator.normal(size=leaf.shape) for name, leaf in shapes.items()}
    if cell.name is None and getattr(cell, "connections", None) == "lateral":
        params["recurrent_kernel"] *= 1 - np.eye(3)
    return params


def problem(cell):
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(4, 4, 2))
    weights = generator.normal(size=(4, 4, 3)), generator.normal(size=(4, 3))
    parts = 2 if isinstance(cell, dl.LSTMCell) else 1
    initial = tuple(generator.normal(size=(4, 3)) for _ in range(parts))
    return inputs, initial, weights


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_forward_and_all_gradients_equal_the_lectures_loop(name, reverse, lengths):
    cell, step = CELLS[name]
    inputs, initial, (of_outputs, of_carry) = problem(cell)
    params = randomized(cell, inputs)
    layer = dl.Recurrent(cell, reverse=reverse)

    def expected(arguments):
        weights = {key: value for key, value in arguments.items() if key in params}
        state = tuple(arguments[f"carry {part}"] for part in range(len(initial)))
        final, outputs = reference.unroll(step, weights, arguments["inputs"], state, lengths, reverse)
        return (outputs * of_outputs).sum() + sum((part * of_carry).sum() for part in final)

    arguments = {**params, "inputs": inputs, **{f"carry {part}": array for part, array in enumerate(initial)}}

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def actual(arguments, of_outputs, of_carry):
        weights = {key: value for key, value in arguments.items() if key in params}
        carry = tuple(arguments[f"carry {part}"] for part in range(len(initial)))
        carry = carry if len(carry) > 1 else carry[0]
        known = None if lengths is None else jnp.asarray(lengths)
        carry, outputs = layer.apply({"params": {"cell": weights}}, arguments["inputs"], known, carry)
        loss = (outputs * of_outputs).sum() + sum((part * of_carry).sum() for part in jax.tree.leaves(carry))
        return loss, (carry, outputs)

    final, outputs = reference.unroll(step, params, inputs, initial, lengths, reverse)
    gradients = reference.gradients(expected, arguments)
    if name == "rnn, lateral":
        gradients["recurrent_kernel"] *= 1 - np.eye(3)
    for dtype, tolerance in ((jnp.float64, 1e-12), (jnp.float32, 1e-5)):
        with jax.enable_x64(dtype == jnp.float64):
            cast = functools.partial(jax.tree.map, functools.partial(jnp.asarray, dtype=dtype))
            (_, (carry, states)), derivative = actual(*cast((arguments, of_outputs, of_carry)))
        assert states.dtype == dtype
        np.testing.assert_allclose(states, outputs, rtol=tolerance, atol=tolerance)
        for part, reached in zip(jax.tree.leaves(carry), final, strict=True):
            np.testing.assert_allclose(part, reached, rtol=tolerance, atol=tolerance)
        for key, gradient in gradients.items():
            scale = max(1.0, np.abs(gradient).max())
            np.testing.assert_allclose(derivative[key], gradient, rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.mark.parametrize("name", CELLS)
def test_our_cells_run_in_flax_and_step_by_step_with_the_same_numbers(name):
    cell, _ = CELLS[name]
    inputs = jax.random.normal(KEY, (2, 5, 3))
    (carry, outputs), variables = dl.Recurrent(cell).init_with_output(KEY, inputs)
    flax_carry, flax_outputs = nn.RNN(cell, return_carry=True).apply(variables, inputs)
    np.testing.assert_allclose(flax_outputs, outputs, rtol=1e-6, atol=1e-6)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6), flax_carry, carry
    )
    state = cell.initialize_carry(KEY, (2, 3))
    for t in range(5):
        state, output = cell.apply({"params": variables["params"]["cell"]}, state, inputs[:, t])
        np.testing.assert_allclose(output, outputs[:, t], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "cell", [nn.LSTMCell(4), nn.OptimizedLSTMCell(4), nn.GRUCell(4), nn.SimpleCell(4), nn.MGUCell(4)]
)
def test_flax_cells_run_in_ours(cell):
    inputs = jax.random.normal(KEY, (2, 5, 3))
    (carry, outputs), variables = dl.Recurrent(cell).init_with_output(KEY, inputs, jnp.array([5, 3]))
    reference_carry, expected = nn.RNN(cell, return_carry=True).apply(variables, inputs[:1])
    np.testing.assert_allclose(outputs[:1], expected, rtol=1e-5, atol=1e-6)
    assert not np.asarray(outputs[1, 3:]).any()
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one[:1], other, rtol=1e-5, atol=1e-6),
        carry,
        reference_carry,
    )
    gradient = jax.grad(lambda v: dl.Recurrent(cell).apply(v, inputs)[1].sum())(variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    cell = CELLS[name][0].clone(**settings)
    inputs = jnp.ones((2, 3, 2), jnp.bfloat16)
    (carry, outputs), variables = dl.Recurrent(cell).init_with_output(KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves((carry, outputs))} == {jnp.dtype(jnp.bfloat16)}
    stepped = cell.apply(
        {"params": variables["params"]["cell"]}, cell.initialize_carry(KEY, (2, 2)), inputs[:, 0]
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(stepped)} == {jnp.dtype(jnp.bfloat16)}
    wanted = settings.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(wanted)}


def test_each_gate_of_a_recurrent_kernel_is_orthogonal_on_its_own():
    for cell, gates in ((dl.LSTMCell(8), 4), (dl.GRUCell(8), 3), (dl.RNNCell(8), 1)):
        kernel = cell.init(KEY, cell.initialize_carry(KEY, (2,)), jnp.ones(2))["params"]["recurrent_kernel"]
        for block in np.split(np.asarray(kernel, np.float64), gates, axis=1):
            np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-5)


def test_many_networks_initialized_at_once_decompose_one_matrix_after_the_other():
    """Two batched decompositions side by side lock up a CPU of two cores: none may be batched."""
    layer = dl.Bidirectional(dl.LSTMCell(8), dl.LSTMCell(8))
    inputs, keys = jnp.ones((2, 3, 4)), jax.random.split(KEY, 3)
    seeds = jax.jit(jax.vmap(lambda key: layer.init(key, inputs)))
    batch_dims = set(re.findall(r'geqrf.*num_batch_dims = "(\d)"', seeds.lower(keys).as_text()))
    assert batch_dims == {"0"}
    for ours, alone in zip(
        jax.tree.leaves(seeds(keys)), jax.tree.leaves(layer.init(keys[1], inputs)), strict=True
    ):
        np.testing.assert_allclose(ours[1], alone, atol=1e-6)


def test_forget_gates_begin_open_and_identity_networks_with_the_identity():
    cell = dl.LSTMCell(2, forget_bias=3.0)
    bias = cell.init(KEY, cell.initialize_carry(KEY, (2,)), jnp.ones(2))["params"]["bias"]
    assert bias.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]
    params = dl.IdentityRNNCell(3).init(KEY, jnp.zeros(3), jnp.ones(2))["params"]
    assert params["recurrent_kernel"].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(("cell", "keep", "write"), [(dl.LSTMCell, 1, 0), (dl.GRUCell, 0, None)])
def test_chrono_spreads_memories_evenly_from_one_step_to_the_longest(cell, keep, write):
    """``u = exp(b)`` is uniform over (1, T_max - 1): its quantiles are those of 2,000 units."""
    cell = cell(
        2000,
        chrono=784,
        bias_init=nn.initializers.constant(0.25),
        recurrent_kernel_init=nn.initializers.zeros,
    )
    bias = cell.init(KEY, cell.initialize_carry(KEY, (1,)), jnp.ones(1))["params"]["bias"]
    gates = np.asarray(bias).reshape(cell.gates, -1)
    memory = np.sort(np.exp(gates[keep]))
    np.testing.assert_allclose(memory, np.linspace(1, 783, 2000), atol=0.05 * 782)
    assert memory.min() >= 0.999
    assert memory.max() <= 783.1
    if write is not None:
        np.testing.assert_array_equal(gates[write], -gates[keep])
    others = [gate for gate in range(cell.gates) if gate not in (keep, write)]
    assert (gates[others] == 0.25).all()


def test_the_residual_cells_derivative_through_time_is_the_identity():
    layer = dl.Recurrent(dl.ResidualRNNCell(3))
    inputs = jax.random.normal(KEY, (9, 2))
    variables = layer.init(KEY, inputs)
    jacobian = jax.jacobian(lambda carry: layer.apply(variables, inputs, None, carry)[0])(jnp.ones(3))
    np.testing.assert_array_equal(jacobian, np.eye(3))


@pytest.mark.parametrize(
    ("connections", "kept"), [("direct", np.eye(3)), ("lateral", 1 - np.eye(3)), ("full", np.ones((3, 3)))]
)
def test_connections_are_those_of_the_lecture(connections, kept):
    cell = dl.RNNCell(3, activation=lambda z: z, connections=connections)
    variables = cell.init(KEY, jnp.zeros(3), jnp.ones(2))
    jacobian = jax.jacobian(lambda carry: cell.apply(variables, carry, jnp.ones(2))[1])(jnp.ones(3))
    np.testing.assert_array_equal(np.asarray(jacobian) != 0, kept != 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dl.LSTMCell(0), ValueError, "features: got 0, expected an integer >= 1"),
        (lambda: dl.LSTMCell(3, chrono=2), ValueError, "chrono: got 2, expected an integer >= 3"),
        (lambda: dl.GRUCell(3, chrono=9.5), TypeError, "chrono: got 9.5, expected an integer"),
        (
            lambda: dl.GRUCell(3, chrono=9, use_bias=False),
            ValueError,
            "chrono: got 9 with use_bias=False, expected a cell with biases",
        ),
        (lambda: dl.LSTMCell(2.5), TypeError, r"features: got 2\.5, expected an integer"),
        (
            lambda: dl.GRUCell(2, reset="later"),
            ValueError,
            'reset: got \'later\', expected "before" or "after"',
        ),
        (lambda: dl.RNNCell(2, connections="some"), ValueError, "connections: got 'some', expected"),
        (
            lambda: dl.RNNCell(2, input_dropout=1.0),
            ValueError,
            r"input_dropout: got 1\.0, expected a share in \[0, 1\)",
        ),
        (
            lambda: dl.RNNCell(2, recurrent_dropout=-0.1),
            ValueError,
            r"recurrent_dropout: got -0\.1, expected",
        ),
        (lambda: dl.LSTMCell(2, zoneout=(0.1, 1.5)), ValueError, r"zoneout: got 1\.5, expected"),
        (lambda: step(dl.RNNCell(2, input_dropout=0.1)), ValueError, "train"),
        (
            lambda: step(dl.RNNCell(2, zoneout=(0.1, 0.2), train=True)),
            ValueError,
            "zoneout: got .* expected one rate",
        ),
        (lambda: step(dl.RNNCell(2), carry=jnp.zeros(3)), ValueError, r"carry: got \(3,\), expected \(2,\)"),
        (
            lambda: step(dl.LSTMCell(2), carry=jnp.zeros(2)),
            ValueError,
            r"carry: got \(2,\), expected \(\(2,\), \(2,\)\)",
        ),
        (
            lambda: step(dl.RNNCell(2), inputs=jnp.ones(3, int)),
            TypeError,
            "inputs: got int32, expected floating",
        ),
    ],
)
def test_cells_refuse_what_does_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        make()


def step(cell, carry=None, inputs=None):
    inputs = jnp.ones(3) if inputs is None else inputs
    carry = cell.initialize_carry(KEY, inputs.shape) if carry is None else carry
    return cell.init({"params": KEY, "dropout": KEY}, carry, inputs)


def test_the_lectures_whole_network_reads_out_every_state():
    """h_t = tanh(W_hh h_{t-1} + W_xh x_t), y_t = W_hy h_t."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            _, states = dl.Recurrent(dl.RNNCell(3, use_bias=False, name="hidden"))(inputs)
            return nn.Dense(2, use_bias=False, name="readout")(states)

    inputs = jax.random.normal(KEY, (5, 4))
    outputs, variables = Network().init_with_output(KEY, inputs)
    kernels = jax.tree.map(np.asarray, variables["params"])
    hidden = np.zeros(3)
    for t in range(5):
        hidden = np.tanh(
            hidden @ kernels["hidden"]["recurrent_kernel"] + inputs[t] @ kernels["hidden"]["input_kernel"]
        )
        np.testing.assert_allclose(outputs[t], hidden @ kernels["readout"]["kernel"], rtol=1e-5, atol=1e-6)


def test_a_parameter_of_another_width_is_named_by_flax():
    variables = dl.RNNCell(3).init(KEY, jnp.zeros(3), jnp.ones(2))
    with pytest.raises(flax.errors.ScopeParamShapeError, match="input_kernel"):
        dl.RNNCell(3).apply(variables, jnp.zeros(3), jnp.ones(5))
