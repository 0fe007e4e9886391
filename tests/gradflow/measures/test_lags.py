"""The lecture's double sum against NumPy and against autodiff with a copy of the parameters for each step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lags import covering_lag, gradients_by_lag, log_by_lag, log_gradients
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from tests.helpers.recurrences import (
    LENGTHS,
    measure,
    norm,
    of_all_states,
    recurrence,
    sum_of_last_state,
    unrolled,
)

BOUNDS = {"float32": 2e-5, "float64": 1e-12}


def all_measures(recurrence, states, cotangents):
    """The triangle, both measures by lag, and the states and cotangents that they are made of."""
    steps = len(recurrence.inputs)
    given = (recurrence, states, cotangents)
    return {
        "triangle": log_gradients(*given),
        "by_lag": gradients_by_lag(*given, steps - 1),
        "log_by_lag": log_by_lag(*given, steps),
        "states": states,
        "cotangents": cotangents,
    }


def terms_of_tanh(system, states, cotangents):
    """``G[t][k]`` of a tanh net as a dict of gradients, in NumPy.

    The cotangent of a padded state is that of the state after the row's last valid step.
    """
    kernel, inputs = np.asarray(system.params["recurrent_kernel"]), np.asarray(system.inputs)
    zeros = jax.tree.map(np.zeros_like, jax.device_get(system.params))
    found = [[dict(zeros) for _ in range(7)] for _ in range(7)]
    for row, length in enumerate(LENGTHS):
        cotangent = cotangents[:, row].copy()
        cotangent[length] = cotangent[length:].sum(axis=0)
        for t in range(length + 1):
            delta = cotangent[t]
            for k in range(t, 0, -1):
                delta_z = delta * (1 - states[k, row] ** 2)
                share = {
                    "input_kernel": np.outer(inputs[k - 1, row], delta_z),
                    "recurrent_kernel": np.outer(states[k - 1, row], delta_z),
                    "bias": delta_z,
                }
                found[t][k] = {name: found[t][k][name] + share[name] for name in share}
                delta = kernel @ delta_z
    return found


def test_all_sums_are_those_of_a_numpy_loop():
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64", lengths=LENGTHS)
        found = jax.device_get(measure(all_measures, system, of_all_states))
    terms = terms_of_tanh(system, found["states"], found["cotangents"])
    close = functools.partial(np.testing.assert_allclose, atol=1e-12, rtol=1e-12)
    expected = [[np.sqrt(sum((leaf**2).sum() for leaf in term.values())) for term in row] for row in terms]
    close(np.exp(found["triangle"]), expected)
    for name, by_lag in found["by_lag"].items():
        sums = [sum(terms[k + lag][k][name] for k in range(1, 7 - lag)) for lag in range(6)]
        close(by_lag, sums)
    squares = sum((leaf**2).reshape(6, -1).sum(axis=1) for leaf in found["by_lag"].values())
    close(np.exp(found["log_by_lag"][:6]), np.sqrt(squares))
    assert found["log_by_lag"][6] == -np.inf  # no step is T steps before the last state
    assert (found["triangle"][:, 0] == -np.inf).all()
    assert (found["triangle"][np.triu_indices(7, 1)] == -np.inf).all()


def terms(system, cotangents):
    """``G[t][k]`` by autodiff: d_t times the derivative of s_t by the copy of theta of step k, a row at a time."""

    @jax.jit
    @jax.jacrev
    def of_copies(copies):
        states = unrolled(system, copies.__getitem__, system.initial_state)
        products = [
            jax.tree.map(lambda d, s, t=t: (d[t] * s).reshape(len(s), -1).sum(axis=1), cotangents, state)
            for t, state in enumerate(states)
        ]
        by_row = jnp.stack([sum(jax.tree.leaves(parts)) for parts in products])  # [T + 1, B]
        if system.lengths is None:
            return by_row.sum(axis=1)
        ends = jnp.minimum(jnp.arange(len(states))[:, None], system.lengths)
        return jnp.zeros(len(states), by_row.dtype).at[ends].add(by_row)

    return of_copies([system.params] * len(system.inputs))


def diagonal(copies, lag):
    """``sum_k G[k + lag][k]``."""
    parts = [jax.tree.map(lambda leaf, t=k + lag: leaf[t], copies[k - 1]) for k in range(1, 7 - lag)]
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)


@pytest.mark.slow  # minutes of compilation
@pytest.mark.parametrize(
    ("kind", "lengths", "dtype"),
    [("tanh", LENGTHS, "float32"), ("stack", LENGTHS, "float64"), ("lstm", None, "float64")],
)
def test_all_sums_are_those_of_autodiff(kind, lengths, dtype):
    with jax.enable_x64(dtype == "float64"):
        system = recurrence(kind, dtype, lengths=lengths)
        copies = terms(system, state_cotangents(of_all_states, trajectory(system)))
        close = functools.partial(np.testing.assert_allclose, atol=BOUNDS[dtype] * 10, rtol=BOUNDS[dtype])

        expected = np.zeros((7, 7))
        for k, copy in enumerate(copies, 1):
            expected[:, k] = jax.vmap(norm)(copy)
        found = measure(all_measures, system, of_all_states)
        close(jnp.exp(found["triangle"]), expected)
        by_lag = [diagonal(copies, lag) for lag in range(6)]
        jax.tree.map(lambda mine, *theirs: close(mine, jnp.stack(theirs)), found["by_lag"], *by_lag)
        close(jnp.exp(found["log_by_lag"][:6]), np.stack(list(map(norm, by_lag))))
        sums = jax.tree.map(lambda leaf: leaf.sum(axis=0), found["by_lag"])
        jax.tree.map(close, sums, measure(backward, system, of_all_states).gradient)


def leaky(decay, steps, **changes):
    """``s_t = decay s_{t-1} + theta x_t`` with inputs 1: the gradient at lag l is decay^l."""
    step = lambda theta, s, x: decay * s + theta * x
    return Recurrence(step, jnp.array(1.0), jnp.zeros(1), jnp.ones((steps, 1)))._replace(**changes)


@pytest.mark.slow
def test_lags_of_a_shorter_row_do_not_count_its_padding():
    """A row of length 3 in 10 steps: the loss reads its last, padded state, which has lags 0, 1 and 2."""
    system = leaky(0.5, 10, lengths=jnp.array([3]))
    both = lambda *given: (log_by_lag(*given, 9), log_gradients(*given)[3], gradients_by_lag(*given, 1))
    by_lag, row, few = measure(both, system, sum_of_last_state)
    assert np.exp(by_lag).round(6).tolist() == [1, 0.5, 0.25] + [0] * 7
    assert np.exp(row).round(6).tolist() == [0, 0.25, 0.5, 1] + [0] * 7
    assert few.tolist() == [1, 0.5]


def test_lags_beyond_floats():
    """Lag by lag down to 1e-300 in float32."""
    both = lambda *given: (log_by_lag(*given, 99), log_gradients(*given)[100, :0:-1])
    for logs in measure(both, leaky(1e-3, 100), sum_of_last_state):
        np.testing.assert_allclose(logs / np.log(10), -3 * np.arange(100), atol=1e-3)


@pytest.mark.slow
def test_vanishing_shows_by_lag_where_a_parameters_norm_hides_it():
    """In a tanh net with small weights, |dL/dW| is that of lag 0, however small the share of 20 steps before is."""
    system = recurrence("tanh", steps=30, scale=0.5)
    both = lambda *given: (log_by_lag(*given, 29), backward(*given).gradient)
    logs, gradient = jax.device_get(measure(both, system, of_all_states))
    assert abs(np.log(norm(gradient)) - logs[0]) < 1
    assert logs[20] < logs[0] - np.log(1e6)
    assert covering_lag(logs) < 5


def test_covering_lag_by_hand():
    logs = jnp.log(jnp.array([5.0, 3.0, 1.0, 1.0]))
    assert [int(covering_lag(logs, share)) for share in (0.4, 0.75, 0.85, 1)] == [0, 1, 2, 3]
    assert covering_lag(logs - 5000, 0.75) == covering_lag(logs + 5000, 0.75) == 1
    assert covering_lag(jnp.full(4, -jnp.inf)) == 0
    assert covering_lag(jnp.array([0.0, jnp.nan, 0.0, 0.0])) == 4


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
        log_by_lag(leaky(0.5, 6), jnp.zeros((7, 1)), jnp.zeros((7, 1)), lags)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((jnp.zeros(3), 0), ValueError, r"share: got 0.0, expected a number in \(0, 1\]"),
        ((jnp.zeros(3), 1.5), ValueError, r"share: got 1.5, expected a number in \(0, 1\]"),
        ((jnp.zeros(3), "0.9"), TypeError, "share: got '0.9', expected a number"),
        (([0.0],), TypeError, "log_by_lag: got list, expected an array"),
        ((jnp.zeros((2, 3)),), ValueError, r"log_by_lag: got shape \(2, 3\), expected \[lags\]"),
    ],
)
def test_covering_lag_refuses_other_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        covering_lag(*arguments)


def test_no_lag_covers_nothing():
    assert covering_lag(jnp.zeros(0)) == 0


@pytest.mark.parametrize("kept", [0, 3, 8])
def test_longer_lags_are_summed_in_a_last_entry(kept):
    """All lags of ``s_t = .9 s_{t-1} + theta x_t``: .9^l for l = 0 .. 8, and what is left of their sum."""
    with_rest = lambda *given: log_by_lag(*given, kept, longer=True)
    logs = measure(with_rest, leaky(0.9, 9), sum_of_last_state)
    norms = 0.9 ** np.arange(9)
    np.testing.assert_allclose(np.exp(logs), [*norms[: kept + 1], norms[kept + 1 :].sum()], rtol=1e-5)


def test_the_covering_lag_of_few_lags_counts_the_longer_ones():
    """Norms that stay the same for 400 lags: 90 % are at lag 359, and 129 lags alone would say 116."""
    few = lambda *given: log_by_lag(*given, 128, longer=True)
    every = lambda *given: log_by_lag(*given, 400)
    system = leaky(1.0, 400)
    assert covering_lag(measure(every, system, sum_of_last_state)) == 359
    logs = measure(few, system, sum_of_last_state)
    assert covering_lag(logs) == 129  # above the 128 lags
    assert covering_lag(logs[:-1]) == 116


def test_cuts_end_the_gradient_as_stop_gradient_does():
    """Three rows that are cut before different steps, one of them in its padding."""
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64", lengths=(6, 0, 2, 4))
        cuts = np.zeros((6, 4), bool)
        cuts[[2, 4, 5], [0, 2, 3]] = True
        system = system._replace(cuts=jnp.asarray(cuts))

        def plain(params):
            states = [system.initial_state]
            for t in range(6):
                before = jnp.where(cuts[t][:, None], jax.lax.stop_gradient(states[-1]), states[-1])
                after = system.step(params, before, system.inputs[t])
                states.append(jnp.where(t < np.asarray(system.lengths)[:, None], after, before))
            return of_all_states(jnp.stack(states))

        def both(*given):
            return backward(*given).gradient, gradients_by_lag(*given, 6), log_gradients(*given)

        gradient, by_lag, triangle = measure(both, system, of_all_states)
        expected = jax.jit(jax.grad(plain))(system.params)
        close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-12)
        jax.tree.map(close, gradient, expected)
        jax.tree.map(lambda ours, theirs: close(ours.sum(axis=0), theirs), by_lag, expected)
        assert np.isneginf(triangle[:, 0]).all()
