"""Backpropagation through time in one reverse scan that measures what it passes (lecture: BPTT).

    delta_t = d_t + J_{t+1}^T delta_{t+1},    delta_T = d_T,    J_t = ds_t / ds_{t-1}
    g_k = (ds_k / dtheta)^T delta_k,          sum_k g_k = dL/dtheta

with the derivative of each step alone in ``ds_k / dtheta``. delta_t is how the loss depends on the state after step t
in every way, directly and through all later states; g_k is the k-th step's share in the gradient. A parameter's whole
gradient hides that delta vanishes: the last few g_k, which do not vanish, are most of it.

The states are stored and the rest is computed as it goes: memory O(T B n + |theta|), and never T copies of theta.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    at_step,
    check_states,
    masked_step,
    step_count,
    valid_rows,
)
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.utils.trees import named_leaves


class Backward(NamedTuple):
    """Backpropagation through time, step by step. Logarithms are natural, and -inf where a norm is exactly 0.

    Attributes:
        log_signal: ``[T + 1, B]``, log |delta_t| over the whole state, row by row.
        log_gradient: ``[T]``, log |g_k| over all parameters, of the whole batch; entry k - 1, beside its input.
        log_gradient_of: the same of each parameter alone, ``[T]`` by its path, as in ``{"params/bias": ...}``.
        gradient: ``sum_k g_k``, what ``jax.grad`` gives; inf or 0 where floats do not reach.
        zeros: ``[T + 1, B]``, where delta_t is exactly 0, as behind units of a ReLU that are all dead: the signal has
            ended there, which is something else than to become small.
    """

    log_signal: jax.Array
    log_gradient: jax.Array
    log_gradient_of: dict[str, jax.Array]
    gradient: Tree
    zeros: jax.Array


def backward(recurrence: Recurrence, states: Tree, direct: Tree) -> Backward:
    """The signal that comes back through time, and each step's share in the gradient.

    Each row of delta_t is carried as values times a power of two (`scaled`), so that neither T = 1000 steps of a
    contraction nor of an expansion leave float32. In g_k, rows are summed at the largest one's power.

    Args:
        recurrence: the step and what it was applied to. In a row's padding nothing happens: its delta stays what it
            is, plus d_t, and there is no g.
        states: ``[T + 1, B, ...]`` of `trajectory`.
        direct: d_t, shaped as the states; of `recurrence.direct`.

    Returns:
        Norms and gradient, see `Backward`.

    Raises:
        ValueError, TypeError: shapes do not fit.

    >>> from dlcore.gradflow.recurrence import direct, trajectory
    >>> toy = lambda weight, state, inputs: weight * state + inputs  # lecture: toy example
    >>> inputs = jnp.zeros((1000, 1)).at[0].set(1.0)
    >>> recurrence = Recurrence(toy, jnp.array(0.01), jnp.zeros(1), inputs)
    >>> states = trajectory(recurrence)
    >>> flow = backward(recurrence, states, direct(lambda states: states[-1].sum(), states))
    >>> (flow.log_signal[1] / jnp.log(10)).round(2).tolist()  # 0.01^999
    [-1998.0]
    """
    check_states(recurrence, states, direct)
    params = named_leaves(recurrence.params)
    steps = step_count(recurrence)

    def body(
        carry: tuple[WideRange, list[WideRange]], number: jax.Array
    ) -> tuple[tuple[WideRange, list[WideRange]], Tree]:
        signal, total = carry
        shares, signal = pull_back(recurrence, at_step(states, number), signal, number)
        signal = wide_range.add(signal, wide_range.from_floats(at_step(direct, number), 1))
        total = list(map(wide_range.add_unnormalized, total, shares))
        return (signal, total), (wide_range.log_norm(signal), list(map(wide_range.log_norm, shares)))

    last = wide_range.from_floats(at_step(direct, steps), 1)
    none = [wide_range.from_floats(jnp.zeros_like(leaf), 0) for leaf in params.values()]
    (_, total), (log_signal, logs) = lax.scan(body, (last, none), jnp.arange(steps), reverse=True)
    log_signal = jnp.concatenate([log_signal, wide_range.log_norm(last)[None]])
    gradient = jax.tree.unflatten(
        jax.tree.structure(recurrence.params), list(map(wide_range.to_floats, total))
    )
    named = dict(zip(params, logs, strict=True))
    return Backward(log_signal, wide_range.joint_log_norm(logs), named, gradient, jnp.isneginf(log_signal))


def backward_signal(recurrence: Recurrence, states: Tree, direct: Tree) -> WideRange:
    """delta_t itself, ``[T + 1, B]`` rows of values shaped as the states, each times its power of two.

    The values alone are the signal's direction, wherever its size is.

    Args, Raises: as `backward`.

    >>> from dlcore.gradflow.recurrence import direct, trajectory
    >>> halving = Recurrence(lambda w, s, x: w * s + x, jnp.array(0.5), jnp.zeros(1), jnp.ones((2, 1)))
    >>> states = trajectory(halving)
    >>> delta = signal(halving, states, direct(lambda states: states[-1].sum(), states))
    >>> scaled.unscaled(delta).tolist()
    [[0.25], [0.5], [1.0]]
    """
    check_states(recurrence, states, direct)
    steps = step_count(recurrence)

    def body(delta: WideRange, number: jax.Array) -> tuple[WideRange, WideRange]:
        _, delta = pull_back(recurrence, at_step(states, number), delta, number)
        delta = wide_range.add(delta, wide_range.from_floats(at_step(direct, number), 1))
        return delta, delta

    last = wide_range.from_floats(at_step(direct, steps), 1)
    _, before = lax.scan(body, last, jnp.arange(steps), reverse=True)
    return jax.tree.map(lambda rest, end: jnp.concatenate([rest, end[None]]), before, last)


def pull_back(
    recurrence: Recurrence, state: Tree, cotangent: WideRange, number: jax.Array
) -> tuple[list[WideRange], WideRange]:
    """One step back: ``(ds_k/dtheta)^T v`` of each parameter, and ``J_k^T v``.

    Args:
        recurrence: whose step k = ``number`` + 1 it is. state: s_{k-1} ``[B, ...]``.
        cotangent: v of s_k, exponents ``[*many, B]``: any number of them, for which the step is computed once.

    Returns:
        A list of the parameters' leaves, exponents ``[*many]``; and the cotangent of s_{k-1}.
    """
    own, inputs = valid_rows(recurrence, number), at_step(recurrence.inputs, number)
    _, pull = jax.vjp(
        lambda params, state: masked_step(recurrence, params, state, inputs, own), recurrence.params, state
    )
    for _ in range(cotangent.exponent.ndim - 1):
        pull = jax.vmap(pull)
    # Two pulls, as sums over rows need a common scale and the rows themselves their own; of either, the compiler
    # drops the half that is not used.
    common = wide_range.to_common_exponent(cotangent, own)
    shares = [wide_range.normalize(leaf, common.exponent) for leaf in jax.tree.leaves(pull(common.values)[0])]
    return shares, wide_range.normalize(pull(cotangent.values)[1], cotangent.exponent)
