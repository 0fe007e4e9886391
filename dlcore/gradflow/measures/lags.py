"""The distance in time over which the gradient learns: the lecture's double sum, term by term and by lag.

    dL/dtheta = sum_t sum_{k <= t} G[t, k],    G[t, k] = (ds_k / dtheta)^T (J_{k+1}^T ... J_t^T) d_t

(lecture: gradient flow in simple RNNs). G[t, k] is the part of the gradient that the loss at state t sends to the
parameters as step k uses them. The sum over all terms with t - k = lag is the part that is learned over this distance.
Its norm against the lag shows vanishing, which the norm of the whole sum hides. Lags do not count padding: a padded
state is the state after the row's last valid step, so its lags start there. Where the recurrence is cut, as by
truncated backpropagation through time, the gradient has no terms that pass the cut.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import pull_back
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step, check_states, step_count
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.ops.arrays import at_least_float32, check_floats, where_rows
from dlcore.utils.checks import check_bool, check_integer, check_number


def log_gradients(recurrence: Recurrence, states: Tree, cotangents: Tree) -> jax.Array:
    """Computes log |G[t, k]| for all t and k: the norm over all parameters after the sum over the batch.

    One reverse scan carries the cotangents of all t side by side: time O(T^2), memory O(T (B n + |theta|)), for T up to
    some hundreds. For longer sequences use `log_by_lag`.

    Args:
        recurrence: the step and everything it was applied to.
        states: arrays ``[T + 1, B, ...]`` from `trajectory`.
        cotangents: d_t from `state_cotangents`, arrays of the same shapes as the states.

    Returns:
        An array ``[T + 1, T + 1]`` whose row is t and whose column is k. Entries without a term are -inf: k > t, and
        k = 0, because no step produces the initial state.

    Raises:
        ValueError: as in `check_states`.
        TypeError: as in `check_states`.

    >>> from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
    >>> keep = lambda params, state, inputs: 0.5 * state + params * inputs
    >>> recurrence = Recurrence(keep, jnp.array(1.0), jnp.zeros(1), jnp.ones((2, 1)))
    >>> states = trajectory(recurrence)
    >>> jnp.exp(log_gradients(recurrence, states, state_cotangents(jnp.sum, states))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]]
    """
    recurrence, states, cotangents = check_states(recurrence, states, cotangents)
    steps = step_count(recurrence)
    times = jnp.arange(steps + 1)

    def body(signals: WideRange, t: jax.Array) -> tuple[WideRange, jax.Array]:
        started = times > t  # the signal of an earlier state stays as it is until the scan reaches that state
        active = jax.tree.map(functools.partial(where_rows, started), signals, zero)
        shares, pulled = pull_back(recurrence, at_step(states, t), active, t)
        signals = jax.tree.map(functools.partial(where_rows, started), pulled, signals)
        return signals, wide_range.joint_log_norm(list(map(wide_range.log_norm, shares)))

    start = wide_range.from_floats(_at_last_valid_state(recurrence, cotangents), 2)
    zero = wide_range.from_floats(jax.tree.map(jnp.zeros_like, cotangents), 2)
    _, logs = lax.scan(body, start, jnp.arange(steps), reverse=True)
    return jnp.concatenate([jnp.full_like(logs, -jnp.inf, shape=(1, steps + 1)), logs]).T


def log_by_lag(
    recurrence: Recurrence, states: Tree, cotangents: Tree, lags: int, longer: bool = False
) -> jax.Array:
    """Computes log |sum_t G[t, t - lag]|, the norm of the gradient by lag, for lag 0 to K = ``lags``.

    The norm is taken over all parameters after the sum over the batch. One reverse scan carries a shift register of
    K + 1 cotangents: time O(T K), memory O(K (B n + |theta|)) in addition to the states.

    Args:
        recurrence: the step and everything it was applied to.
        states: arrays ``[T + 1, B, ...]`` from `trajectory`.
        cotangents: d_t from `state_cotangents`, arrays of the same shapes as the states.
        lags: K, an integer from 0 to T. Lag T has no term, so its entry is -inf.
        longer: True to append the norm of the sum of all terms with a lag above K.

    Returns:
        An array ``[K + 1]``, lag 0 first; ``[K + 2]`` with the longer lags.

    Raises:
        ValueError: lags is outside 0 to T; or as in `check_states`.
        TypeError: lags is not an integer, or longer not a boolean; or as in `check_states`.

    >>> from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
    >>> keep = lambda params, state, inputs: 0.5 * state + params * inputs
    >>> recurrence = Recurrence(keep, jnp.array(1.0), jnp.zeros(1), jnp.ones((9, 1)))
    >>> @jax.jit
    ... def measure():
    ...     states = trajectory(recurrence)
    ...     last = state_cotangents(lambda states: states[-1].sum(), states)
    ...     return jnp.exp(log_by_lag(recurrence, states, last, lags=3))
    >>> measure().tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    longer = check_bool("longer", longer)
    by_lag = _by_lag(recurrence, states, cotangents, lags)
    logs = wide_range.joint_log_norm(list(map(wide_range.log_norm, by_lag)))
    return logs if longer else logs[:-1]


def gradients_by_lag(recurrence: Recurrence, states: Tree, cotangents: Tree, lags: int) -> Tree:
    """Computes ``sum_t G[t, t - lag]`` itself, the gradient by lag, for lag 0 to K = ``lags``.

    Arguments and errors are those of `log_by_lag`.

    Returns:
        A tree like the parameters, of arrays ``[K + 1, ...]``, lag 0 first. With ``lags=T``, the sum over lags is
        dL/dtheta. The numbers are plain floats: 0 or inf outside their range.
    """
    by_lag = _by_lag(recurrence, states, cotangents, lags)
    leaves = [wide_range.to_floats(numbers)[:-1] for numbers in by_lag]
    return jax.tree.unflatten(jax.tree.structure(recurrence.params), leaves)


def covering_lag(log_by_lag: jax.Array, share: float = 0.9) -> jax.Array:
    """The smallest lag up to which the norms by lag add up to this share of their sum: how far back learning goes.

    It adds norms, not gradients: terms of different lags that cancel each other in the whole gradient count in full.

    Args:
        log_by_lag: ``[K + 1]`` from `log_by_lag`. K + 1 norms are all that it knows: terms with longer lags must be
            negligible, or be the last entry, as with ``longer=True``. Together such terms count as one norm, which is
            at most the sum of theirs, so that the covering lag of all lags is not below the result.
        share: share of the sum of all norms, in (0, 1].

    Returns:
        An integer scalar array; 0 if all norms are 0 or there are none, and the number of entries if a norm is NaN or
        inf.

    Raises:
        ValueError: share is outside (0, 1], or log_by_lag has another number of axes than 1.
        TypeError: share is not a number, or log_by_lag not an array of floating point numbers.

    >>> int(covering_lag(jnp.log(jnp.array([8.0, 1.0, 1.0, 0.0])), share=0.85))
    1
    """
    share = check_number("share", share, "(0, 1]")
    logs = check_floats("log_by_lag", log_by_lag, 1, "[lags]")
    if logs.ndim != 1:
        raise ValueError(f"log_by_lag: got shape {logs.shape}, expected [lags]; use jax.vmap for several")
    largest = jnp.max(logs, initial=-jnp.inf)
    norms = jnp.exp(at_least_float32(logs) - jnp.where(jnp.isneginf(largest), 0, largest))
    covered = jnp.cumsum(norms)
    return jnp.sum(~(covered >= share * covered[-1:]))


def _by_lag(recurrence: Recurrence, states: Tree, cotangents: Tree, lags: int) -> list[WideRange]:
    """Computes the sums by lag of each parameter, ``[K + 2, ...]`` with exponents ``[K + 2]``.

    The last entry is the sum over all longer lags.
    """
    recurrence, states, cotangents = check_states(recurrence, states, cotangents)
    steps, lags = step_count(recurrence), check_integer("lags", lags, 0)
    if lags > steps:
        raise ValueError(f"lags: got {lags}, expected 0 to {steps}, the number of steps")
    cotangents = _at_last_valid_state(recurrence, cotangents)

    def shift_in(t: int | jax.Array, register: WideRange) -> WideRange:
        """Puts d_t in front, at lag 0, and adds the cotangent that leaves the register to those of longer lags."""
        new = wide_range.from_floats(at_step(cotangents, t), 1)
        longer = wide_range.add(
            *(jax.tree.map(lambda leaf, place=place: leaf[place], register) for place in (-2, -1))
        )
        return jax.tree.map(
            lambda first, rest, last: jnp.concatenate([first[None], rest[:-2], last[None]]),
            new,
            register,
            longer,
        )

    def body(
        carry: tuple[WideRange, list[WideRange]], t: jax.Array
    ) -> tuple[tuple[WideRange, list[WideRange]], None]:
        register, total = carry
        shares, register = pull_back(recurrence, at_step(states, t), register, t)
        return (shift_in(t, register), list(map(wide_range.add_unnormalized, total, shares))), None

    def zeros(leaf: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros_like(leaf, shape=(lags + 2, *shape))

    empty = wide_range.from_floats(jax.tree.map(lambda leaf: zeros(leaf, leaf.shape[1:]), cotangents), 2)
    start = [
        wide_range.from_floats(zeros(leaf, leaf.shape), 1) for leaf in jax.tree.leaves(recurrence.params)
    ]
    (_, total), _ = lax.scan(body, (shift_in(steps, empty), start), jnp.arange(steps), reverse=True)
    return total


def _at_last_valid_state(recurrence: Recurrence, cotangents: Tree) -> Tree:
    """Adds the cotangents of a row's padded states to that of its last valid state, since all are the same state.

    Those of padded states after a cut are left out, because no gradient passes from there to the valid steps.
    """
    lengths, cuts = recurrence.lengths, recurrence.cuts
    if lengths is None:
        return cotangents
    times = jnp.arange(step_count(recurrence) + 1)[:, None]
    padded, last = times > lengths, times == lengths
    reaching = padded
    if cuts is not None:
        cut_off = jnp.cumsum(cuts & (times[:-1] >= lengths), axis=0) > 0
        reaching = padded & ~jnp.concatenate([jnp.zeros_like(cut_off, shape=(1, len(lengths))), cut_off])

    def moved(leaf: jax.Array) -> jax.Array:
        zeros = jnp.zeros_like(leaf)
        valid, padding = where_rows(padded, zeros, leaf), where_rows(reaching, leaf, zeros)
        return where_rows(last, valid + padding.sum(axis=0), valid)

    return jax.tree.map(moved, cotangents)
