"""The lecture's cells against its equations in plain float64 loops, and their initial values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from tests.helpers import reference
from tests.helpers.cells import check_equations, problem, some_slow

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 1, 3], np.int32)


def lateral(p, h, x):
    return reference.rnn({**p, "recurrent_kernel": p["recurrent_kernel"] * (1 - np.eye(3))}, h, x)


relu = functools.partial(reference.rnn, activation=reference.relu)
CELLS = {
    "rnn": (dl.RNNCell(3), reference.rnn),
    "rnn, relu": (dl.RNNCell(3, activation=nn.relu), relu),
    "rnn, direct": (dl.RNNCell(3, connections="direct"), reference.rnn),
    "rnn, lateral": (dl.RNNCell(3, connections="lateral"), lateral),
    "identity": (dl.IdentityRNNCell(3), relu),
    "residual": (dl.ResidualRNNCell(3), reference.residual),
    "residual, feedback": (dl.ResidualRNNCell(3, feedback=True), reference.residual),
    "lstm": (dl.LSTMCell(3), reference.lstm),
    "gru": (dl.GRUCell(3), reference.gru),
    "gru, after": (dl.GRUCell(3, reset="after"), functools.partial(reference.gru, reset="after")),
}


@pytest.mark.parametrize("name", CELLS)
def test_forward_and_all_gradients_equal_the_lectures_loop(name):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, (4, 4, 2)), LENGTHS, True, "float64")


@pytest.mark.parametrize("name", some_slow(CELLS, ["lstm"]))
def test_float32_and_whole_sequences_equal_the_loop(name):
    cell, step = CELLS[name]
    check_equations(cell, step, problem(cell, (4, 4, 2)), None, False, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("lengths", "reverse"),
    [(None, False), (None, True), (LENGTHS, False), (LENGTHS, True)],
    ids=["whole", "whole, reverse", "lengths", "lengths, reverse"],
)
def test_every_direction_and_precision_equals_the_loop(name, lengths, reverse):
    cell, step = CELLS[name]
    for dtype in ("float64", "float32"):
        check_equations(cell, step, problem(cell, (4, 4, 2)), lengths, reverse, dtype)


@pytest.mark.parametrize("name", some_slow(CELLS, ["lstm"]))
def test_our_cells_run_in_flax_and_step_by_step_with_the_same_numbers(name):
    cell, _ = CELLS[name]

    @jax.jit
    def run(inputs):
        ours, variables = dl.Recurrent(cell).init_with_output(KEY, inputs)
        flax = nn.RNN(cell, return_carry=True).apply(variables, inputs)
        state, outputs = cell.initialize_carry(KEY, (2, 3)), []
        for t in range(3):
            state, output = cell.apply({"params": variables["params"]["cell"]}, state, inputs[:, t])
            outputs.append(output)
        return ours, flax, (state, jnp.stack(outputs, axis=1))

    ours, flax, stepped = run(jax.random.normal(KEY, (2, 3, 3)))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    jax.tree.map(close, flax, ours)
    jax.tree.map(close, stepped, ours)


FLAX = [nn.LSTMCell(4), nn.OptimizedLSTMCell(4), nn.GRUCell(4), nn.SimpleCell(4), nn.MGUCell(4)]


@pytest.mark.slow
@pytest.mark.parametrize("cell", FLAX)
def test_flax_cells_run_in_ours(cell):
    layer = dl.Recurrent(cell)

    @jax.jit
    def run(inputs):
        ours, variables = layer.init_with_output(KEY, inputs, jnp.array([5, 3]))
        gradient = jax.grad(lambda v: layer.apply(v, inputs)[1].sum())(variables)
        return ours, nn.RNN(cell, return_carry=True).apply(variables, inputs[:1]), gradient

    (carry, outputs), expected, gradient = run(jax.random.normal(KEY, (2, 5, 3)))
    assert not np.asarray(outputs[1, 3:]).any()
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one[:1], other, rtol=1e-5, atol=1e-6),
        (carry, outputs),
        expected,
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("settings", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}])
def test_bfloat16_in_bfloat16_out(name, settings):
    cell = CELLS[name][0].clone(**settings)
    inputs = jax.ShapeDtypeStruct((2, 3, 2), jnp.bfloat16)
    result, variables = jax.eval_shape(dl.Recurrent(cell).init_with_output, KEY, inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.bfloat16)}
    carry = cell.initialize_carry(KEY, (2, 2))
    stepped, _ = jax.eval_shape(cell.init_with_output, KEY, carry, inputs.update(shape=(2, 2)))
    assert {leaf.dtype for leaf in jax.tree.leaves(stepped)} == {jnp.dtype(jnp.bfloat16)}
    wanted = settings.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(wanted)}


def test_identity_networks_start_with_the_identity():
    params = jax.jit(dl.IdentityRNNCell(3).init)(KEY, jnp.zeros(3), jnp.ones(2))["params"]
    assert params["recurrent_kernel"].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("cell", "keep", "write"),
    [(dl.LSTMCell, 1, 0), pytest.param(dl.GRUCell, 0, None, marks=pytest.mark.slow)],
)
def test_chrono_spreads_memories_evenly_from_one_step_to_the_longest(cell, keep, write):
    """``u = exp(b)`` is uniform over (1, T_max - 1), as the quantiles of 2,000 units show."""
    cell = cell(
        2000,
        chrono=784,
        bias_init=nn.initializers.constant(0.25),
        recurrent_kernel_init=nn.initializers.zeros,
    )
    bias = jax.jit(cell.init)(KEY, cell.initialize_carry(KEY, (1,)), jnp.ones(1))["params"]["bias"]
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

    @jax.jit
    def jacobian(inputs, carry):
        variables = layer.init(KEY, inputs)
        return jax.jacobian(lambda carry: layer.apply(variables, inputs, None, carry)[0])(carry)

    inputs = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_array_equal(jacobian(inputs, np.ones(3, np.float32)), np.eye(3))


@pytest.mark.parametrize(
    ("connections", "kept"), [("direct", np.eye(3)), ("lateral", 1 - np.eye(3)), ("full", np.ones((3, 3)))]
)
def test_connections_are_those_of_the_lecture(connections, kept):
    cell = dl.RNNCell(3, activation=lambda z: z, connections=connections)

    @jax.jit
    def jacobian(carry, inputs):
        variables = cell.init(KEY, carry, inputs)
        return jax.jacobian(lambda carry: cell.apply(variables, carry, inputs)[1])(carry)

    derivative = np.asarray(jacobian(np.ones(3, np.float32), np.ones(2, np.float32)))
    np.testing.assert_array_equal(derivative != 0, kept != 0)


@jax.custom_vjp
def rounded(z):
    """Rounds to a half, with the derivative 1."""
    return jnp.round(2 * z) / 2


rounded.defvjp(lambda z: (rounded(z), None), lambda _, change: (change,))
ACTIVATIONS = {
    "softmax": nn.softmax,
    "mean": lambda z: z - z.mean(axis=-1, keepdims=True),
    "reversed": lambda z: jnp.tanh(z[..., ::-1]),
    "straight through": rounded,
    "gelu": nn.gelu,
    "wide": lambda z: jnp.tanh(z.astype(jnp.float32)),
}


@pytest.mark.parametrize("name", some_slow(ACTIVATIONS, ["softmax"]))
@pytest.mark.parametrize(
    "cell",
    [dl.RNNCell, pytest.param(functools.partial(dl.ResidualRNNCell, feedback=True), marks=pytest.mark.slow)],
)
def test_any_activation_has_the_gradients_that_flax_finds(name, cell):
    """With softmax the bias had the gradient 0, because each unit's output depends on all units."""
    cell = cell(4, activation=ACTIVATIONS[name])
    ours, flax = dl.Recurrent(cell, time_chunk=2), nn.RNN(cell)
    inputs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)

    @jax.jit
    def gradients(inputs):
        variables = ours.init(KEY, inputs)
        weights = jnp.arange(4.0)
        of_ours = lambda variables, inputs: (ours.apply(variables, inputs)[1] ** 2 * weights).sum()
        of_flax = lambda variables, inputs: (flax.apply(variables, inputs) ** 2 * weights).sum()
        return [jax.grad(loss, (0, 1))(variables, inputs) for loss in (of_ours, of_flax)]

    result, expected = gradients(inputs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), result, expected)
    assert np.asarray(result[0]["params"]["cell"]["bias"]).any()


def test_an_activation_may_have_a_parameter_of_the_model():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            slope = self.param("slope", nn.initializers.constant(0.3), (3,))
            return dl.Recurrent(dl.RNNCell(3, activation=lambda z: jnp.where(z > 0, z, slope * z)))(inputs)[1]

    inputs = np.random.default_rng(0).normal(size=(2, 5, 2))
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, jax.jit(Model().init)(KEY, np.float32(inputs)))
        loss = jax.jit(lambda variables: (Model().apply(variables, inputs) ** 2).sum())
        moved = lambda by: {"params": {**variables["params"], "slope": variables["params"]["slope"] + by}}
        gradient = jax.device_get(jax.jit(jax.grad(loss))(variables)["params"]["slope"])
        expected = (loss(moved(1e-6)) - loss(moved(-1e-6))) / 2e-6
    np.testing.assert_allclose(gradient.sum(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "error", "message"),
    [
        (lambda z: z > 0, TypeError, "activation: got bool, expected floating point numbers"),
        (
            lambda z: jnp.sign(z).astype(int),
            TypeError,
            "activation: got int32, expected floating point numbers",
        ),
        (
            lambda z: z.sum(-1),
            ValueError,
            r"activation: got values of shape \(2,\) for \(2, 3\), expected the same",
        ),
        (lambda z: nn.glu(z[:, :2]), ValueError, r"activation: got values of shape \(2, 1\) for \(2, 3\)"),
    ],
)
def test_activations_that_give_something_else_are_refused(activation, error, message):
    layer = dl.Recurrent(dl.RNNCell(3, activation=activation))
    with pytest.raises(error, match=message):
        jax.eval_shape(layer.init, KEY, jnp.ones((2, 5, 1)))


REFUSED = {
    "activation: got the module PReLU, expected a function": lambda: dl.RNNCell(3, activation=nn.PReLU()),
    "chrono: got 2, expected an integer >= 3": lambda: dl.LSTMCell(3, chrono=2),
    "chrono: got 9.5, expected an integer": lambda: dl.GRUCell(3, chrono=9.5),
    "chrono: got 9 with use_bias=False, expected a cell with biases": lambda: dl.GRUCell(
        3, chrono=9, use_bias=False
    ),
    "chrono: got 9 with forget_bias=2.0, expected one of them": lambda: dl.LSTMCell(
        3, chrono=9, forget_bias=2.0
    ),
    "forget_bias: got nan, expected a number": lambda: dl.LSTMCell(3, forget_bias=float("nan")),
    "activation: got 'tanh', expected a function such as jnp.tanh": lambda: dl.RNNCell(3, activation="tanh"),
    'reset: got \'later\', expected "before" or "after"': lambda: dl.GRUCell(2, reset="later"),
    'connections: got \'some\', expected "full", "direct" or "lateral"': lambda: dl.RNNCell(
        2, connections="some"
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_settings_that_do_not_fit_are_refused(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSED[message]()
    assert message in str(caught.value)


@pytest.mark.slow
def test_the_lectures_whole_network_reads_out_every_state():
    """h_t = tanh(W_hh h_{t-1} + W_xh x_t), y_t = W_hy h_t."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            _, states = dl.Recurrent(dl.RNNCell(3, use_bias=False, name="hidden"))(inputs)
            return nn.Dense(2, use_bias=False, name="readout")(states)

    inputs = jax.random.normal(KEY, (5, 4))
    outputs, variables = jax.jit(Network().init_with_output)(KEY, inputs)
    kernels = jax.tree.map(np.asarray, variables["params"])
    hidden = np.zeros(3)
    for t in range(5):
        hidden = np.tanh(
            hidden @ kernels["hidden"]["recurrent_kernel"] + inputs[t] @ kernels["hidden"]["input_kernel"]
        )
        np.testing.assert_allclose(outputs[t], hidden @ kernels["readout"]["kernel"], rtol=1e-5, atol=1e-6)


def test_a_parameter_of_another_width_is_named():
    variables = {"params": {"input_kernel": jnp.ones((2, 3))}}
    with pytest.raises(
        ValueError, match=r"params: got input_kernel of shape \(2, 3\), expected \(5, 3\) for a RNNCell"
    ):
        dl.RNNCell(3).apply(variables, jnp.zeros(3), jnp.ones(5))
