"""Gates against the cells' equations in NumPy, and that they do not tell how long a gradient lasts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import gates
from dlcore.gradflow.measures.lyapunov import largest_exponent
from dlcore.gradflow.measures.recurrence import trajectory
from dlcore.gradflow.measures.summary import half_life
from tests.helpers.reference import gate_input, normalized_gate_input, sigma
from tests.helpers.systems import driven

STEPS, LENGTHS = 6, (6, 0, 2, 4)
CELLS = {
    "lstm": (dl.LSTMCell(3), gate_input, ("input", "forget", "output")),
    "gru": (dl.GRUCell(3), gate_input, ("update", "reset")),
    "gru, after": (dl.GRUCell(3, reset="after"), gate_input, ("update", "reset")),
    "lstm, projected": (dl.ProjectedLSTMCell(3, projection=2), gate_input, ("input", "forget", "output")),
    "lstm, normalized": (dl.LayerNormLSTMCell(3), normalized_gate_input, ("input", "forget", "output")),
    "gru, normalized": (dl.LayerNormGRUCell(3), normalized_gate_input, ("update", "reset")),
}
QUICK = ("lstm", "gru", "gru, after", "gru, normalized")


def random_problem(cell, *shape):
    """Parameters, states and inputs ``[T, *shape]`` in float64, all random, and large, so that gates saturate."""
    inputs = jnp.zeros(shape)
    carry = cell.initialize_carry(jax.random.key(0), inputs.shape)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), carry, inputs)["params"])
    normal = np.random.default_rng(0).normal
    params = jax.tree.map(lambda leaf: 3 * normal(size=leaf.shape), shapes)
    states = jax.tree.map(lambda leaf: normal(size=(STEPS + 1, *leaf.shape)), carry)
    return params, states, normal(size=(STEPS, *shape))


def statistics(cell, params, states, inputs, lengths):
    measure = jax.jit(functools.partial(gates.gate_statistics, cell))
    return jax.device_get(measure(params, states, inputs, jnp.array(lengths)))


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in CELLS if name not in QUICK)]
)
def test_statistics_follow_from_the_equations(name):
    cell, enters, names = CELLS[name]
    with jax.enable_x64(True):
        params, states, inputs = random_problem(cell, 4, 2)
        found = statistics(cell, params, states, inputs, LENGTHS)
    assert set(found) == set(names)
    hidden = jax.tree.leaves(states)[-1]
    for t in range(STEPS):
        rows = [row for row in range(4) if t < LENGTHS[row]]
        for index, gate in enumerate(names):
            values = sigma(
                np.array([enters(params, index, 3, inputs[t, row], hidden[t, row]) for row in rows])
            )
            expected = values, values > 0.95, values < 0.05, np.log(values)
            for ours, theirs in zip(found[gate], expected, strict=True):
                np.testing.assert_allclose(ours[t], theirs.mean(axis=0), atol=1e-12, rtol=0)
    assert 0 < np.mean(found[names[0]].open) < 1
    assert 0 < np.mean(found[names[0]].closed) < 1


def test_keeping_gate_is_the_derivative_by_the_old_state():
    cell = dl.LSTMCell(4)
    with jax.enable_x64(True):
        params, (cells, hidden), inputs = random_problem(cell, 1, 2)
        after = lambda c: cell.apply({"params": params}, (c, hidden[0]), inputs[0])[0][0]
        jacobian = np.asarray(jax.jit(jax.jacobian(after))(cells[0]))
        found = statistics(cell, params, (cells, hidden), inputs, [STEPS])
    np.testing.assert_allclose(np.diag(jacobian[0, :, 0]), gates.keeping_gate(found).mean[0], rtol=1e-12)


def test_gates_of_images_count_all_pixels():
    cell = dl.ConvLSTMCell(2, (3,))
    params, states, inputs = jax.tree.map(np.float32, random_problem(cell, 2, 5, 1))

    @jax.jit
    def both(params, states, inputs):
        before = jax.tree.map(lambda leaf: leaf[1], states)
        values = cell.apply({"params": params}, before, inputs[1], method="gate_values")["forget"]
        return gates.gate_statistics(cell, params, states, inputs), values

    found, values = jax.device_get(both(params, states, inputs))
    np.testing.assert_allclose(gates.keeping_gate(found).mean[1], values.mean(axis=(0, 1)), rtol=1e-5)


def test_a_step_without_valid_rows_has_no_statistics():
    cell = dl.GRUCell(5)
    params, states, inputs = jax.tree.map(np.float32, random_problem(cell, 4, 2))
    for part in gates.keeping_gate(statistics(cell, params, states, inputs, (3, 2, 0, 3))):
        assert np.isnan(part).all(axis=1).tolist() == [False] * 3 + [True] * 3


def test_a_cell_without_gates_is_refused():
    params, states, inputs = random_problem(dl.RNNCell(5), 4, 2)
    with pytest.raises(ValueError, match="cell: got RNNCell, expected a cell of dlcore with gates"):
        gates.gate_statistics(dl.RNNCell(5), params, states, inputs)


@pytest.mark.slow
def test_a_half_life_from_gates_alone_is_wrong():
    """This LSTM keeps through its recurrent kernel what its forget gates, near a half, let go."""
    cell = dl.LSTMCell(16, forget_bias=0.0)
    system = driven(cell, steps=1000, scale=3.0)

    @jax.jit
    def measured():
        states = trajectory(system)
        found = gates.gate_statistics(cell, system.params, states, system.inputs)
        return gates.keeping_gate(found).mean_log.mean(axis=0), largest_exponent(system)[0]

    rates, exponent_1 = jax.device_get(measured())
    half_lives = [half_life(rate) for rate in (rates.mean(), rates.max(), exponent_1)]
    np.testing.assert_allclose(half_lives, [0.81, 1.44, 6.36], rtol=0.02)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cell": None}, TypeError, "cell: got None, expected a cell of dlcore"),
        ({"inputs": [1.0]}, TypeError, "inputs: got list, expected an array"),
        (
            {"states": jnp.zeros((3, 1, 4))},
            ValueError,
            r"states: got shape \(3, 1, 4\), expected .* = \(3, 2\) first",
        ),
        ({"lengths": [2, 1]}, TypeError, "lengths: got list, expected an array of integers"),
        ({"lengths": jnp.array([3, 1])}, ValueError, "lengths: got 3 in row 0, expected 0 to 2"),
    ],
)
def test_bad_arguments_are_named(changes, error, message):
    given = {
        "cell": dl.GRUCell(4),
        "params": {},
        "states": jnp.zeros((3, 2, 4)),
        "inputs": jnp.zeros((2, 2, 1)),
    }
    with pytest.raises(error, match=message):
        gates.gate_statistics(**(given | changes))


def test_gates_without_a_keeping_one_are_refused():
    with pytest.raises(ValueError, match="gates: got none, expected one of forget, update"):
        gates.keeping_gate({})
