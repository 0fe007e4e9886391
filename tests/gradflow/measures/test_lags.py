"""The lecture's double sum against a loop in which every step has a copy of the parameters, and sums by lag."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lags import covering_lag, gradients_by_lag, log_by_lag, log_gradients
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from tests.helpers.recurrences import LENGTHS, everywhere, measure, norm, recurrence, unrolled

pytestmark = pytest.mark.slow  # minutes of compilation

CASES = [("tanh", LENGTHS), ("stack", LENGTHS), ("lstm", None)]  # the stack is a GRU on an LSTM
BOUNDS = {"float32": 2e-5, "float64": 1e-12}


def terms(system, own):
    """``G[t][k]`` by brute force: d_t times s_t differentiated by the copy of theta of step k, a row at a time.

    A padded state is the one after its row's last step, so that its d counts there.
    """

    @jax.jit
    @jax.jacrev
    def of_copies(copies):
        states = unrolled(system, copies.__getitem__, system.initial_state)
        said = [
            jax.tree.map(lambda d, s, t=t: (d[t] * s).reshape(len(s), -1).sum(axis=1), own, state)
            for t, state in enumerate(states)
        ]
        by_row = jnp.stack([sum(jax.tree.leaves(parts)) for parts in said])  # [T + 1, B]
        if system.lengths is None:
            return by_row.sum(axis=1)
        ends = jnp.minimum(jnp.arange(len(states))[:, None], system.lengths)
        return jnp.zeros(len(states), by_row.dtype).at[ends].add(by_row)

    return of_copies([system.params] * len(system.inputs))


def last(states):
    return states[-1].sum()


def diagonal(copies, lag):
    """``sum_k G[k + lag][k]``."""
    parts = [jax.tree.map(lambda leaf, t=k + lag: leaf[t], copies[k - 1]) for k in range(1, 7 - lag)]
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)


@pytest.mark.parametrize(
    ("kind", "lengths", "dtype"),
    [*((*case, "float64") for case in CASES), *((*case, "float32") for case in CASES[:1])],
)
def test_triangle_and_lags_are_the_brute_force_ones(kind, lengths, dtype):
    with jax.enable_x64(dtype == "float64"):
        system = recurrence(kind, dtype, lengths=lengths)
        copies = terms(system, state_cotangents(everywhere, trajectory(system)))
        close = functools.partial(np.testing.assert_allclose, atol=BOUNDS[dtype] * 10, rtol=BOUNDS[dtype])

        expected = np.zeros((7, 7))
        for k, copy in enumerate(copies, 1):
            expected[:, k] = jax.vmap(norm)(copy)
        triangle = measure(log_gradients, system, everywhere)
        assert (triangle[:, 0] == -jnp.inf).all()
        assert (triangle[np.triu_indices(7, 1)] == -jnp.inf).all()
        close(jnp.exp(triangle), expected)

        by_lag = [diagonal(copies, lag) for lag in range(6)]
        ours = measure(gradients_by_lag, system, everywhere, 5)
        jax.tree.map(lambda mine, *theirs: close(mine, jnp.stack(theirs)), ours, *by_lag)
        close(jnp.exp(measure(log_by_lag, system, everywhere, 5)), np.stack(list(map(norm, by_lag))))


@pytest.mark.parametrize(("kind", "lengths"), CASES)
def test_lags_sum_to_the_gradient(kind, lengths):
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", lengths=lengths)
        of_all = measure(gradients_by_lag, system, everywhere, 6)
        whole = measure(backward, system, everywhere).gradient
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours.sum(axis=0), theirs, atol=1e-11),
            of_all,
            whole,
        )
        few = measure(gradients_by_lag, system, everywhere, 3)
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs[:4], atol=1e-12), few, of_all
        )
        assert (
            measure(log_by_lag, system, everywhere, 6)[6] == -jnp.inf
        )  # no step lies T behind the last state


def test_a_lag_counts_a_rows_own_steps():
    """One row of length 3 in 10 steps: what the loss says of its last, padded state is of lag 0, 1 and 2."""
    system = Recurrence(lambda w, s, x: 0.5 * s + w * x, jnp.array(1.0), jnp.zeros(1), jnp.ones((10, 1)))
    system = system._replace(lengths=jnp.array([3]))
    assert jnp.exp(measure(log_by_lag, system, last, 9)).round(6).tolist() == [1, 0.5, 0.25] + [0] * 7
    assert jnp.exp(measure(log_gradients, system, last)[3]).round(6).tolist() == [0, 0.25, 0.5, 1] + [0] * 7


def test_lags_beyond_floats():
    """The toy with ``h_t = w h_{t-1} + v x_t``: lag by lag, ``dL/dv`` is w^lag, down to 1e-600 in float32."""
    system = Recurrence(lambda v, s, x: 1e-3 * s + v * x, jnp.array(1.0), jnp.zeros(1), jnp.ones((200, 1)))
    expected = -3 * np.arange(200)
    np.testing.assert_allclose(measure(log_by_lag, system, last, 199) / np.log(10), expected, atol=1e-3)
    np.testing.assert_allclose(
        measure(log_gradients, system, last)[200, 1:] / np.log(10), expected[::-1], atol=1e-3
    )


def test_vanishing_is_seen_by_lag_where_a_parameters_norm_hides_it():
    """tanh at a third of the usual weights: |dL/dW| is that of lag 0, whatever lies 20 steps back."""
    system = recurrence("tanh", steps=30, scale=0.3)
    logs = measure(log_by_lag, system, everywhere, 29)
    assert abs(jnp.log(norm(measure(backward, system, everywhere).gradient)) - logs[0]) < 1
    assert logs[20] < logs[0] - np.log(1e6)
    assert covering_lag(logs) < 5


def test_covering_lag_by_hand():
    logs = jnp.log(jnp.array([5.0, 3.0, 1.0, 1.0]))
    assert [int(covering_lag(logs, share)) for share in (0.4, 0.75, 0.85, 1)] == [0, 1, 2, 3]
    assert covering_lag(logs - 5000, 0.75) == covering_lag(logs + 5000, 0.75) == 1
    assert covering_lag(jnp.full(3, -jnp.inf)) == 0
    assert covering_lag(jnp.array([0.0, jnp.nan, 0.0])) == 3


@pytest.mark.parametrize(
    ("lags", "error", "message"),
    [
        (7, ValueError, "lags: got 7, expected 0 to 6, the number of steps"),
        (-1, ValueError, "lags: got -1, expected an integer >= 0"),
        (1.5, TypeError, "lags: got 1.5, expected an integer"),
    ],
)
def test_errors(lags, error, message):
    with pytest.raises(error, match=message):
        measure(log_by_lag, recurrence("tanh"), everywhere, lags)


@pytest.mark.parametrize("share", [0, 1.5])
def test_share_is_one(share):
    with pytest.raises(ValueError, match=rf"share: got {share}, expected a number in \(0, 1\]"):
        covering_lag(jnp.zeros(3), share)
