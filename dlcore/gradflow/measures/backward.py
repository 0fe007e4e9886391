"""Backpropagation through time in one reverse scan that measures every step (lecture: BPTT).

    delta_t = d_t + J_{t+1}^T delta_{t+1},    delta_T = d_T,    J_t = ds_t / ds_{t-1}
    g_k = (ds_k / dtheta)^T delta_k,          sum_k g_k = dL/dtheta

Here ``ds_k / dtheta`` is the derivative of step k alone. delta_t is the total dependence of the loss on the state
after step t, directly and through all later states; g_k is the share of step k in the gradient. A parameter's whole
gradient hides that delta vanishes, because the last few g_k do not vanish and are most of it.

Only the states are stored, everything else is computed on the way: memory O(T B n + |theta|), never T copies of theta.
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
    pass_gradient,
    step_count,
    valid_rows,
)
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.utils.trees import named_leaves


class Backward(NamedTuple):
    """Norms of backpropagation through time, step by step. Logarithms are natural; the log of an exact 0 is -inf.

    Attributes:
        log_signal: ``[T + 1, B]``, log |delta_t|, the norm over the whole state of each row.
        log_gradient: ``[T]``, log |g_k|, the norm over all parameters after the sum over the batch. Entry k - 1 belongs
            to step k = 1 .. T, as in the inputs.
        log_gradient_of: a dict of arrays ``[T]``: log |g_k| of each parameter alone, by the parameter's path in
            ``recurrence.params``, such as ``"recurrent_kernel"``.
        gradient: ``sum_k g_k``, a tree like the parameters: the gradient that ``jax.grad`` gives; inf or 0 outside the
            range of floats.
        zeros: ``[T + 1, B]``, True where delta_t is exactly 0, as before a step at which all ReLU units are dead. There
            the signal has ended, which is not the same as becoming small.
    """

    log_signal: jax.Array
    log_gradient: jax.Array
    log_gradient_of: dict[str, jax.Array]
    gradient: Tree
    zeros: jax.Array


def backward(recurrence: Recurrence, states: Tree, cotangents: Tree) -> Backward:
    """Measures the signal that comes back through time, and the share of each step in the gradient.

    Each row of delta_t is carried as values times a power of two (see `wide_range`), so neither 1000 contracting steps
    nor 1000 expanding ones leave the range of float32. In g_k, the rows are summed at the largest row's power of two.

    Args:
        recurrence: the step and everything it was applied to. A padded step changes nothing: its delta is that of the
            next step plus d_t, and its g is 0. Where the recurrence is cut, no signal goes back.
        states: arrays ``[T + 1, B, ...]`` from `trajectory`.
        cotangents: d_t from `state_cotangents`, arrays of the same shapes as the states.

    Returns:
        A `Backward`: the norms and the gradient.

    Raises:
        ValueError: as in `check_states`.
        TypeError: as in `check_states`.

    >>> from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
    >>> toy = lambda weight, state, inputs: weight * state + inputs  # lecture: toy example
    >>> inputs = jnp.zeros((1000, 1)).at[0].set(1.0)
    >>> recurrence = Recurrence(toy, jnp.array(0.01), jnp.zeros(1), inputs)
    >>> states = trajectory(recurrence)
    >>> flow = backward(recurrence, states, state_cotangents(lambda states: states[-1].sum(), states))
    >>> (flow.log_signal[1] / jnp.log(10)).round(2).tolist()  # 0.01^999
    [-1998.0]
    """
    recurrence, states, cotangents = check_states(recurrence, states, cotangents)
    params = named_leaves(recurrence.params)
    steps = step_count(recurrence)

    def body(
        carry: tuple[WideRange, list[WideRange]], t: jax.Array
    ) -> tuple[tuple[WideRange, list[WideRange]], Tree]:
        signal, total = carry
        shares, signal = pull_back(recurrence, at_step(states, t), signal, t)
        signal = wide_range.add(signal, wide_range.from_floats(at_step(cotangents, t), 1))
        total = list(map(wide_range.add_unnormalized, total, shares))
        return (signal, total), (wide_range.log_norm(signal), list(map(wide_range.log_norm, shares)))

    last = wide_range.from_floats(at_step(cotangents, steps), 1)
    zero = [wide_range.from_floats(jnp.zeros_like(leaf), 0) for leaf in params.values()]
    (_, total), (log_signal, logs) = lax.scan(body, (last, zero), jnp.arange(steps), reverse=True)
    log_signal = jnp.concatenate([log_signal, wide_range.log_norm(last)[None]])
    gradient = jax.tree.unflatten(
        jax.tree.structure(recurrence.params), list(map(wide_range.to_floats, total))
    )
    named = dict(zip(params, logs, strict=True))
    return Backward(log_signal, wide_range.joint_log_norm(logs), named, gradient, jnp.isneginf(log_signal))


def backward_signal(recurrence: Recurrence, states: Tree, cotangents: Tree) -> WideRange:
    """Computes the backward signal delta_t itself, for all t.

    Args:
        recurrence: the step and everything it was applied to.
        states: arrays ``[T + 1, B, ...]`` from `trajectory`.
        cotangents: d_t from `state_cotangents`, arrays of the same shapes as the states.

    Returns:
        A `WideRange`: values of the same shapes as the states, and exponents ``[T + 1, B]``, so that each row at each
        step has its own power of two. The values alone give the direction of each row's signal, whatever its size.

    Raises:
        ValueError: as in `check_states`.
        TypeError: as in `check_states`.

    >>> from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
    >>> halving = Recurrence(lambda w, s, x: w * s + x, jnp.array(0.5), jnp.zeros(1), jnp.ones((2, 1)))
    >>> states = trajectory(halving)
    >>> last = state_cotangents(lambda states: states[-1].sum(), states)
    >>> wide_range.to_floats(backward_signal(halving, states, last)).tolist()
    [[0.25], [0.5], [1.0]]
    """
    recurrence, states, cotangents = check_states(recurrence, states, cotangents)
    steps = step_count(recurrence)

    def body(delta: WideRange, t: jax.Array) -> tuple[WideRange, WideRange]:
        _, delta = pull_back(recurrence, at_step(states, t), delta, t)
        delta = wide_range.add(delta, wide_range.from_floats(at_step(cotangents, t), 1))
        return delta, delta

    last = wide_range.from_floats(at_step(cotangents, steps), 1)
    _, before = lax.scan(body, last, jnp.arange(steps), reverse=True)
    return jax.tree.map(lambda rest, end: jnp.concatenate([rest, end[None]]), before, last)


def pull_back(
    recurrence: Recurrence, state: Tree, cotangent: WideRange, t: jax.Array
) -> tuple[list[WideRange], WideRange]:
    """Goes one step back: computes ``(ds_k/dtheta)^T v`` of each parameter, and ``J_k^T v``, for k = ``t`` + 1.

    Args:
        recurrence: the recurrence of the step.
        state: s_{k-1} ``[B, ...]``, the state before the step.
        cotangent: one or many cotangents v of s_k: values ``[*many, B, ...]``, exponents ``[*many, B]``. The step is
            computed once for all of them.
        t: index of the step, counted from 0.

    Returns:
        A pair: a list with ``(ds_k/dtheta)^T v`` for each leaf of the parameters, values ``[*many, ...]`` and exponents
        ``[*many]``, summed over the rows; and ``J_k^T v``, in the shapes of ``cotangent``.
    """
    valid, inputs = valid_rows(recurrence, t), at_step(recurrence.inputs, t)

    def step(params: Tree, state: Tree) -> Tree:
        return masked_step(recurrence, params, pass_gradient(recurrence, state, t), inputs, valid)

    _, pull = jax.vjp(step, recurrence.params, state)
    for _ in range(cotangent.exponent.ndim - 1):
        pull = jax.vmap(pull)
    # The sums over rows need a common exponent, but each row of the state needs its own: hence two pulls. The compiler
    # drops the unused half of each.
    common = wide_range.to_common_exponent(cotangent, valid)
    shares = [wide_range.normalize(leaf, common.exponent) for leaf in jax.tree.leaves(pull(common.values)[0])]
    return shares, wide_range.normalize(pull(cotangent.values)[1], cotangent.exponent)
