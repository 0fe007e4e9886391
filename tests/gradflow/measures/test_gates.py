"""Gates against the cells' equations in NumPy, and what they cannot say: for how long a gradient lasts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import gates
from dlcore.gradflow.measures.lyapunov import largest_exponent
from dlcore.gradflow.measures.recurrence import trajectory
from dlcore.gradflow.measures.summary import half_life
from tests.helpers.recurrences import recurrence
from tests.helpers.reference import sigma
from tests.helpers.systems import driven
from tests.layers.recurrent.test_layer_norm_cells import gate as normalized

LENGTHS = (6, 0, 2, 4)


def plain(p, number, x, h):
    own = slice(3 * number, 3 * number + 3)
    return x @ p["input_kernel"][:, own] + h @ p["recurrent_kernel"][:, own] + p["bias"][own]


CELLS = {
    "lstm": (dl.LSTMCell(3), plain, ("input", "forget", "output")),
    "gru": (dl.GRUCell(3), plain, ("update", "reset")),
    "gru, after": (dl.GRUCell(3, reset="after"), plain, ("update", "reset")),
    "lstm, normalized": (dl.LayerNormLSTMCell(3), normalized, ("input", "forget", "output")),
    "gru, normalized": (dl.LayerNormGRUCell(3), normalized, ("update", "reset")),
}


def problem(cell):
    """A driven cell in float64 with all its parameters random, and large, so that gates saturate."""
    system = driven(cell, steps=6, batch=4, dtype="float64", features=2)
    generator = np.random.default_rng(0)
    params = {name: 3 * generator.normal(size=leaf.shape) for name, leaf in system.params.items()}
    return system._replace(params=params, lengths=jnp.array(LENGTHS))


def measured(cell, system):
    """The states and the statistics of all gates, compiled as one."""

    @jax.jit
    def run():
        states = trajectory(system)
        return states, gates.gate_statistics(cell, system.params, states, system.inputs, system.lengths)

    return run()


@pytest.mark.parametrize("name", CELLS)
def test_statistics_are_those_of_the_equations(name):
    cell, pre_activation, names = CELLS[name]
    with jax.enable_x64(True):
        system = problem(cell)
        states, found = jax.device_get(measured(cell, system))
    assert set(found) == set(names)
    hidden, inputs = np.asarray(jax.tree.leaves(states)[-1]), np.asarray(system.inputs)
    for step in range(6):
        rows = [row for row in range(4) if step < LENGTHS[row]]
        for number, gate in enumerate(names):
            values = [
                sigma(pre_activation(system.params, number, inputs[step, row], hidden[step, row]))
                for row in rows
            ]
            values = np.array(values)
            expected = values, values > 0.95, values < 0.05, np.log(values)
            for ours, theirs in zip(found[gate], expected, strict=True):
                np.testing.assert_allclose(ours[step], theirs.mean(axis=0), atol=1e-12, rtol=0)
    assert 0 < np.mean(found[names[0]].open) < 1
    assert 0 < np.mean(found[names[0]].closed) < 1


def test_the_keeping_gate_is_the_derivative_in_the_old_state():
    cell = dl.LSTMCell(4)
    with jax.enable_x64(True):
        system = driven(cell, steps=1, dtype="float64")
        cells, hidden = system.initial_state
        after = lambda c: system.step(system.params, (c, hidden), system.inputs[0])[0]
        of_cells = np.asarray(jax.jit(jax.jacobian(after))(cells))
        _, found = jax.device_get(measured(cell, system))
        np.testing.assert_allclose(np.diag(of_cells[0, :, 0]), gates.keeping_gate(found).mean[0], rtol=1e-12)


def test_of_images_all_pixels_count():
    cell = dl.ConvLSTMCell(2, (3,))
    inputs = np.random.default_rng(0).normal(size=(3, 2, 5, 1)).astype(np.float32)

    @jax.jit
    def both(inputs):
        carry = cell.initialize_carry(jax.random.key(0), inputs[0].shape)
        variables = cell.init(jax.random.key(1), carry, inputs[0])
        step = lambda carry, now: (cell.apply(variables, carry, now)[0],) * 2
        _, after = jax.lax.scan(step, carry, inputs)
        states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), carry, after)
        before = jax.tree.map(lambda leaf: leaf[1], states)
        values = cell.apply(variables, before, inputs[1], method="gate_values")["forget"]
        return gates.gate_statistics(cell, variables["params"], states, inputs), values

    found, values = jax.device_get(both(inputs))
    np.testing.assert_allclose(gates.keeping_gate(found).mean[1], values.mean(axis=(0, 1)), rtol=1e-5)


def test_where_no_row_is_left_there_is_no_gate():
    cell = dl.GRUCell(5)
    system = recurrence("gru", lengths=(3, 2, 0, 3))
    _, found = jax.device_get(measured(cell, system))
    for part in gates.keeping_gate(found):
        assert np.isnan(part).all(axis=1).tolist() == [False] * 3 + [True] * 3


def test_a_cell_without_gates_is_refused():
    with pytest.raises(ValueError, match="cell: got RNNCell, expected a cell of dlcore with gates"):
        measured(dl.RNNCell(5), recurrence("tanh"))


def test_a_half_life_from_gates_alone_is_wrong():
    """An LSTM that keeps through its recurrent kernel what its forget gates, near a half, let go."""
    cell = dl.LSTMCell(16, forget_bias=0.0)
    system = driven(cell, steps=1000, scale=3.0)
    (_, found), growth = jax.device_get(jax.jit(lambda: (measured(cell, system), largest_exponent(system)))())
    rates = gates.keeping_gate(found).mean_log.mean(axis=0)
    lives = [half_life(rate) for rate in (rates.mean(), rates.max(), growth[0])]
    np.testing.assert_allclose(lives, [0.81, 1.44, 6.36], rtol=0.02)
