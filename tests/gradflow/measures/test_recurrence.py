"""The forward pass against a plain loop, and the direct derivative, which is not the total one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    at_step,
    check_recurrence,
    state_cotangents,
    trajectory,
)
from dlcore.gradflow.measures.tangents import align_ends
from tests.helpers import reference
from tests.helpers.recurrences import CASES, LENGTHS, measure, of_last_state, recurrence

DEFAULT = (("stack", LENGTHS), ("tanh", None))


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [case if case in DEFAULT else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_trajectory_equals_a_plain_loop(kind, lengths):
    system = recurrence(kind, lengths=lengths)
    step = jax.jit(system.step)
    states = [jax.device_get(system.initial_state)]
    for t in range(6):
        after = jax.device_get(step(system.params, states[-1], system.inputs[t]))
        valid = np.array([lengths is None or t < lengths[row] for row in range(4)])[:, None]
        choose = lambda new, old, valid=valid: np.where(valid, new, old)
        states.append(jax.tree.map(choose, after, states[-1]))
    jax.tree.map(
        lambda ours, *theirs: np.testing.assert_allclose(ours, np.stack(theirs), atol=2e-6),
        jax.jit(lambda: trajectory(system))(),
        *states,
    )


def test_trajectory_of_an_lstm_follows_the_lectures_equations():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        states = jax.device_get(jax.jit(lambda: trajectory(system))())
    params, inputs = jax.device_get((system.params, system.inputs))
    initial = tuple(leaf[0] for leaf in states)
    final, _ = reference.unroll(reference.lstm, params, inputs.swapaxes(0, 1), initial, LENGTHS)
    for ours, theirs in zip(states, final, strict=True):
        np.testing.assert_allclose(ours[-1], theirs, atol=1e-14)


@pytest.mark.parametrize("kind", ["tanh", pytest.param("gru", marks=pytest.mark.slow)])
def test_padding_reaches_neither_states_nor_derivatives(kind):
    system = recurrence(kind, lengths=LENGTHS)

    @jax.jit
    def measured(inputs, lengths):
        padded = system._replace(inputs=inputs, lengths=lengths)
        return trajectory(padded), measure(backward, padded, of_last_state)

    for lengths in (LENGTHS, (0, 0, 0, 0)):
        padding = np.arange(6)[:, None] >= np.array(lengths)
        dirty = jnp.asarray(np.where(padding[..., None], np.float32(np.nan), system.inputs))
        results = [jax.device_get(measured(inputs, jnp.array(lengths))) for inputs in (system.inputs, dirty)]
        jax.tree.map(np.testing.assert_array_equal, *results)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results[1][1].gradient))


def test_a_recurrence_without_steps_has_an_empty_flow():
    system = recurrence("tanh")
    system = system._replace(inputs=system.inputs[:0])
    flow = measure(backward, system, of_last_state)
    assert (flow.log_signal.shape, flow.log_gradient.shape) == ((1, 4), (0,))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(flow.gradient))
    assert at_step(system.inputs, 0).shape == (4, 3)


def test_gradient_by_stacked_states_is_the_direct_derivative():
    """30 steps and a loss of the last state: only one cotangent is not 0, though the loss depends on all states."""
    system = recurrence("tanh", steps=30)

    @jax.jit
    def derivatives():
        states = trajectory(system)
        cotangents = state_cotangents(of_last_state, states)
        return cotangents, backward(system, states, cotangents).zeros

    cotangents, zeros = map(np.asarray, derivatives())
    assert (cotangents != 0).any(axis=(1, 2)).tolist() == [False] * 30 + [True]
    assert not zeros.any()


def toy(dtype=jnp.float32, **changes):
    """``s_t = 0.5 s_{t-1} + x_t`` in two rows and three steps."""
    system = Recurrence(
        lambda w, s, x: w * s + x, jnp.float32(0.5), jnp.zeros((2, 1), dtype), jnp.ones((3, 2, 1))
    )
    return system._replace(**changes)


def test_state_takes_the_dtype_of_the_step():
    assert trajectory(toy(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inputs": ()}, ValueError, "inputs: got a tree without arrays, expected at least one"),
        ({"params": {}}, ValueError, "params: got a tree without arrays"),
        (
            {"inputs": jnp.ones((3, 4, 1))},
            ValueError,
            r"inputs: got shape \(3, 4, 1\), expected \[T, B, ...\] that begins with \(3, 2\)",
        ),
        ({"inputs": jnp.ones(3)}, ValueError, r"inputs: got shape \(3,\), expected \[T, B, ...\]"),
        ({"initial_state": (jnp.ones((2, 1)), jnp.ones((3, 1)))}, ValueError, "initial_state: got shape"),
        (
            {"initial_state": jnp.float32(0)},
            ValueError,
            r"initial_state: got shape \(\), expected \[B, ...\]",
        ),
        ({"lengths": jnp.array([4, 0])}, ValueError, "lengths: got 4 in row 0, expected 0 to 3"),
        ({"lengths": jnp.ones(2)}, TypeError, "lengths: got float32, expected integers"),
        ({"step": lambda w, s, x: s[0]}, ValueError, "step: got a state .*; return the whole carry"),
        ({"step": lambda w, s, x: s.astype(int)}, TypeError, "step: got a state of int"),
        ({"step": None}, TypeError, "step: got None, expected a function"),
        ({"params": "0.5"}, TypeError, "params: got '0.5', expected an array of floating point numbers"),
        ({"params": jnp.int32(2)}, TypeError, "params: got int32, expected floating point numbers"),
        ({"initial_state": [[0.0], [0.0]]}, TypeError, "initial_state: got 0.0, expected an array"),
        ({"initial_state": jnp.zeros((2, 0))}, ValueError, "initial_state: got rows without a number"),
        ({"inputs": [1.0]}, TypeError, "inputs: got 1.0, expected an array"),
        ({"lengths": [3, 1]}, TypeError, "lengths: got list, expected an array of integers"),
        ({"cuts": jnp.zeros((3, 2))}, TypeError, "cuts: got float32, expected booleans"),
        (
            {"cuts": jnp.zeros((2, 3), bool)},
            ValueError,
            r"cuts: got shape \(2, 3\), expected \[T, B\] = \(3, 2\)",
        ),
    ],
)
def test_errors(changes, error, message):
    with pytest.raises(error, match=message):
        trajectory(toy(**changes))


@pytest.mark.parametrize("name", ["states", "cotangents"])
def test_states_and_cotangents_must_cover_all_steps(name):
    given = {"states": jnp.ones((4, 2, 1)), "cotangents": jnp.ones((4, 2, 1))}
    given[name] = jnp.ones((3, 2, 1))
    with pytest.raises(
        ValueError, match=rf"{name}: got \(3, 2, 1\).*\(4, 2, 1\), as trajectory\(recurrence\) returns"
    ):
        backward(toy(), **given)


@pytest.mark.parametrize("recurrence", [None, (), "toy"])
def test_something_else_than_a_recurrence_is_refused(recurrence):
    with pytest.raises(TypeError, match=r"recurrence: got .*, expected a Recurrence"):
        trajectory(recurrence)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (None, TypeError, "loss: got None, expected a function"),
        (lambda states: states[-1], ValueError, r"loss: got a result of shape \(2, 1\), expected a scalar"),
        (lambda states: 1.0, TypeError, "loss: got 1.0, expected an array"),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused(loss, error, message):
    with pytest.raises(error, match=message):
        state_cotangents(loss, jnp.ones((4, 2, 1)))


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "uint32"])
def test_lengths_of_every_integer_dtype_count(name):
    """300 steps, more than int8 and uint8 hold; every measure of the lengths' side."""
    system = toy(inputs=jnp.ones((300, 2, 1)), lengths=jnp.array([100, 7], name))
    checked = check_recurrence(system)
    assert (checked.lengths.dtype, checked.lengths.tolist()) == (jnp.int32, [100, 7])
    states = trajectory(system)
    np.testing.assert_allclose(states[-1, :, 0], 2 * (1 - 0.5 ** np.array([100, 7])), rtol=1e-6)
    assert align_ends(system)[0].shape == (301, 2, 1)


def test_traced_lengths_beyond_the_steps_are_taken_as_the_ends():
    states = jax.jit(lambda lengths: trajectory(toy(lengths=lengths))[-1, :, 0])(jnp.array([-3, 9]))
    assert states.tolist() == [0, 1.75]
