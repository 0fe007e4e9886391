"""Gradient flow by brute force: a recurrence as a Python loop, with a zero added to every state and parameter."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Loop(NamedTuple):
    """What a scan does, as single steps.

    ``step(params, state, x) -> state`` and ``readout(states, params) -> loss`` of the states s_0 .. s_T, trees of
    arrays ``[B, ...]``. ``xs`` are x_1 .. x_T. ``params`` are those of the step.
    """

    step: Callable[[Any, Any, Any], Any]
    params: Any
    first: Any
    xs: list[Any]
    readout: Callable[[list[Any]], jax.Array]


def brute_force(loop: Loop) -> dict[str, Any]:
    """``loss, signal [T + 1, B], gradient [T], by_lag [T]`` (norms) and ``total``, the gradient of the parameters."""
    add = lambda tree, tap: jax.tree.map(jnp.add, tree, tap)

    def states_of(params_taps, state_taps):
        states = [add(loop.first, state_taps[0])]
        for x, params_tap, tap in zip(loop.xs, params_taps, state_taps[1:], strict=True):
            states.append(add(loop.step(add(loop.params, params_tap), states[-1], x), tap))
        return states

    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
    taps = [zeros(loop.params) for _ in loop.xs], [zeros(loop.first) for _ in range(len(loop.xs) + 1)]
    loss, (shares, signal) = jax.value_and_grad(lambda taps: loop.readout(states_of(*taps)))(taps)
    states, pull = jax.vjp(lambda params_taps: states_of(params_taps, taps[1]), taps[0])
    direct = jax.grad(loop.readout)(states)
    # the direct derivative at s_t alone, for each t, pulled back to the parameters of each step k
    alone = [
        jax.tree.map(lambda leaf, t=t: jnp.zeros((len(states), *leaf.shape)).at[t].set(leaf), state)
        for t, state in enumerate(direct)
    ]
    (terms,) = jax.vmap(pull)(alone)
    by_lag = [
        jax.tree.map(
            lambda *terms: sum(terms),
            *(jax.tree.map(lambda leaf, t=k + 1 + lag: leaf[t], terms[k]) for k in range(len(loop.xs) - lag)),
        )
        for lag in range(len(loop.xs))
    ]
    total = lambda trees: jax.tree.map(lambda *leaves: sum(leaves), *trees)
    return {
        "loss": loss,
        "signal": jnp.stack([row_norms(delta) for delta in signal]),
        "gradient": jnp.stack([norm(share) for share in shares]),
        "by_lag": jnp.stack([norm(of_lag) for of_lag in by_lag]),
        "total": total(shares),
    }


def norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


def row_norms(state: Any) -> jax.Array:
    leaves = jax.tree.leaves(state)
    return jnp.sqrt(sum((jnp.abs(leaf) ** 2).reshape(len(leaf), -1).sum(axis=1) for leaf in leaves))


def assert_close(measured: Any, expected: Any, precision: float = 1e-10) -> float:
    """Compares within a share of the largest number; returns that share."""
    measured, expected = np.asarray(measured), np.asarray(expected)
    assert measured.shape == expected.shape
    error = np.abs(measured - expected).max() / max(np.abs(expected).max(), 1e-300)
    assert error <= precision, (error, measured, expected)
    return float(error)
