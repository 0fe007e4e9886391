"""The forward pass, and the direct derivative that is not the total one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from tests.helpers import reference
from tests.helpers.recurrences import CASES, LENGTHS, at_the_end, measure, recurrence, stacked, unrolled


@pytest.mark.parametrize(("kind", "lengths"), CASES)
def test_trajectory_is_the_plain_loop(kind, lengths):
    system = recurrence(kind, lengths=lengths)

    @jax.jit
    def both():
        plain = stacked(unrolled(system, lambda t: system.params, system.initial_state))
        return trajectory(system), plain

    states, expected = both()
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=2e-6), states, expected)


def test_lstm_is_the_lectures():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        params = jax.tree.map(np.asarray, system.params)
        inputs = np.asarray(system.inputs).swapaxes(0, 1)
        final, _ = reference.unroll(
            reference.lstm, params, inputs, tuple(map(np.asarray, system.initial_state)), LENGTHS
        )
        for ours, theirs in zip(trajectory(system), final, strict=True):
            np.testing.assert_allclose(np.asarray(ours)[-1], theirs, atol=1e-14)


@pytest.mark.parametrize("lengths", [LENGTHS, (0, 0, 0, 0)])
def test_nothing_in_the_padding_reaches_states_or_derivatives(lengths):
    clean = recurrence("gru", lengths=lengths)
    padding = np.arange(6)[:, None] >= np.array(lengths)
    dirty = jnp.asarray(np.where(padding[..., None], np.float32(np.nan), clean.inputs))
    measured = jax.jit(
        lambda inputs: (
            trajectory(clean._replace(inputs=inputs)),
            measure(backward, clean._replace(inputs=inputs), at_the_end),
        )
    )
    results = [jax.device_get(measured(inputs)) for inputs in (clean.inputs, dirty)]
    jax.tree.map(np.testing.assert_array_equal, *results)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results[1][1].gradient))


def test_no_steps():
    system = recurrence("lstm")
    system = system._replace(inputs=system.inputs[:0])
    flow = measure(backward, system, at_the_end)
    assert (flow.log_signal.shape, flow.log_gradient.shape) == ((1, 4), (0,))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(flow.gradient))


def test_gradient_of_stacked_states_is_the_direct_one():
    """30 steps and a loss on the last state: one derivative is not 0, though the loss depends on all states."""
    system = recurrence("tanh", steps=30)

    @jax.jit
    def derivatives():
        states = trajectory(system)
        own = state_cotangents(at_the_end, states)
        return own, backward(system, states, own).zeros

    own, zeros = map(np.asarray, derivatives())
    assert (own != 0).any(axis=(1, 2)).tolist() == [False] * 30 + [True]
    assert not zeros.any()


def test_state_takes_the_dtype_of_the_step():
    system = Recurrence(
        lambda w, s, x: w * s + x, jnp.float32(0.5), jnp.zeros(2, jnp.bfloat16), jnp.ones((3, 2))
    )
    assert trajectory(system).dtype == jnp.float32


GOOD = recurrence("lstm")
STATES = jax.tree.map(np.asarray, trajectory(GOOD))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inputs": ()}, ValueError, "inputs: got a tree without arrays, expected at least one"),
        ({"params": {}}, ValueError, "params: got a tree without arrays"),
        (
            {"inputs": jnp.ones((6, 3, 3))},
            ValueError,
            r"inputs: got shape \(6, 3, 3\), expected \[T, B, ...\] that",
        ),
        ({"inputs": jnp.ones(6)}, ValueError, r"inputs: got shape \(6,\), expected \[T, B, ...\]"),
        ({"initial_state": (jnp.ones((4, 5)), jnp.ones((3, 5)))}, ValueError, "initial_state: got shape"),
        (
            {"initial_state": jnp.float32(0)},
            ValueError,
            r"initial_state: got shape \(\), expected \[B, ...\]",
        ),
        ({"lengths": jnp.array([7, 0, 0, 0])}, ValueError, "lengths: got 7 in row 0, expected 0 to 6"),
        ({"lengths": jnp.ones(4)}, TypeError, "lengths: got float32, expected integers"),
        ({"step": lambda p, s, x: s[1]}, ValueError, "step: got a state .*; return the whole carry"),
    ],
)
def test_errors(changes, error, message):
    with pytest.raises(error, match=message):
        trajectory(GOOD._replace(**changes))


@pytest.mark.parametrize("name", ["states", "direct"])
def test_states_and_direct_are_of_all_steps(name):
    given = {"states": STATES, "direct": STATES}
    given[name] = jax.tree.map(lambda leaf: leaf[1:], STATES)
    with pytest.raises(ValueError, match=rf"{name}: got \(\(6, 4, 5\).*as trajectory\(recurrence\) returns"):
        backward(GOOD, **given)
