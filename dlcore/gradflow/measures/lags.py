"""Over which distance in time the gradient learns: the lecture's double sum, term by term and by lag.

    dL/dtheta = sum_t sum_{k <= t} G[t, k],    G[t, k] = (ds_k / dtheta)^T (J_{k+1}^T ... J_t^T) d_t

(lecture: gradient flow in simple RNNs). G[t, k] is what the loss at step t says through the parameters' use in step k;
the sum over all of t - k = lag is what is learned over this distance, and its norm against the lag shows vanishing
that the norm of the sum hides. A lag counts a row's own steps: what the loss says of a padded state, which is the one
after the row's last step, counts from there.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import pull_back
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step, check_states, step_count
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.ops.arrays import where_rows
from dlcore.utils.checks import check_integer


def log_gradients(recurrence: Recurrence, states: Tree, direct: Tree) -> jax.Array:
    """log |G[t, k]| over all parameters and the whole batch, ``[T + 1, T + 1]``: t down, k across.

    -inf where there is no such term: k > t, and k = 0, as no step makes the initial state. One reverse scan carries
    the cotangents of all t side by side: time O(T^2), memory O(T (B n + |theta|)), for T up to some hundreds; beyond,
    `log_by_lag`.

    Args:
        recurrence: the step and what it was applied to. states: of `trajectory`. direct: d_t, shaped as the states.

    Raises:
        ValueError, TypeError: shapes do not fit.

    >>> from dlcore.gradflow.recurrence import direct, trajectory
    >>> keep = lambda params, state, inputs: 0.5 * state + params * inputs
    >>> recurrence = Recurrence(keep, jnp.array(1.0), jnp.zeros(1), jnp.ones((2, 1)))
    >>> states = trajectory(recurrence)
    >>> jnp.exp(log_gradients(recurrence, states, direct(jnp.sum, states))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]]
    """
    check_states(recurrence, states, direct)
    steps = step_count(recurrence)
    times = jnp.arange(steps + 1)

    def body(waiting: WideRange, number: jax.Array) -> tuple[WideRange, jax.Array]:
        begun = times > number  # the others wait for the step after their own state to come
        moving = jax.tree.map(functools.partial(where_rows, begun), waiting, nothing)
        shares, back = pull_back(recurrence, at_step(states, number), moving, number)
        carried = jax.tree.map(functools.partial(where_rows, begun), back, waiting)
        return carried, wide_range.joint_log_norm(list(map(wide_range.log_norm, shares)))

    everything = wide_range.from_floats(_at_own_end(recurrence, direct), 2)
    nothing = wide_range.from_floats(jax.tree.map(jnp.zeros_like, direct), 2)
    _, logs = lax.scan(body, everything, jnp.arange(steps), reverse=True)
    return jnp.concatenate([jnp.full_like(logs, -jnp.inf, shape=(1, steps + 1)), logs]).T


def log_by_lag(recurrence: Recurrence, states: Tree, direct: Tree, lags: int) -> jax.Array:
    """log |sum_t G[t, t - lag]| over all parameters and the whole batch, ``[K + 1]`` for lag 0 to K = ``lags``.

    A shift register of K + 1 cotangents in one reverse scan: time O(T K), memory O(K (B n + |theta|)) beside the
    states.

    Args:
        recurrence: the step and what it was applied to. states: of `trajectory`. direct: d_t, shaped as the states.
        lags: K, 0 to T; no term has a lag of T or more.

    Raises:
        ValueError, TypeError: shapes do not fit, or lags is no integer within 0 to T.

    >>> from dlcore.gradflow.recurrence import direct, trajectory
    >>> keep = lambda params, state, inputs: 0.5 * state + params * inputs
    >>> recurrence = Recurrence(keep, jnp.array(1.0), jnp.zeros(1), jnp.ones((9, 1)))
    >>> states = trajectory(recurrence)
    >>> last = direct(lambda states: states[-1].sum(), states)
    >>> jnp.exp(log_by_lag(recurrence, states, last, lags=3)).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    return wide_range.joint_log_norm(
        list(map(wide_range.log_norm, _by_lag(recurrence, states, direct, lags)))
    )


def gradients_by_lag(recurrence: Recurrence, states: Tree, direct: Tree, lags: int) -> Tree:
    """``sum_t G[t, t - lag]`` itself: the parameters' pytree of arrays ``[K + 1, ...]``; otherwise as `log_by_lag`.

    With ``lags=T`` their sum over lags is dL/dtheta. Plain floats: 0 or inf where these do not reach.
    """
    leaves = list(map(wide_range.to_floats, _by_lag(recurrence, states, direct, lags)))
    return jax.tree.unflatten(jax.tree.structure(recurrence.params), leaves)


def covering_lag(log_by_lag: jax.Array, share: float = 0.9) -> jax.Array:
    """The smallest lag up to which the norms make up this share of the sum of all: how far back learning reaches.

    Args:
        log_by_lag: ``[K + 1]``, of `log_by_lag`; its K should be large enough that nothing is left beyond.
        share: in (0, 1].

    Returns:
        An integer; 0 where all norms are 0, and K + 1 where one is NaN, as no lag covers that.

    Raises:
        ValueError: share is outside (0, 1].

    >>> int(covering_lag(jnp.log(jnp.array([8.0, 1.0, 1.0, 0.0])), share=0.85))
    1
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: got {share}, expected a number in (0, 1]")
    largest = jnp.max(log_by_lag)
    covered = jnp.cumsum(jnp.exp(log_by_lag - jnp.where(jnp.isneginf(largest), 0, largest)))
    return jnp.sum(~(covered >= share * covered[-1]))


def _by_lag(recurrence: Recurrence, states: Tree, direct: Tree, lags: int) -> list[WideRange]:
    """Each parameter's ``[K + 1, ...]``, exponents ``[K + 1]``."""
    check_states(recurrence, states, direct)
    steps = step_count(recurrence)
    if check_integer("lags", lags, 0) > steps:
        raise ValueError(f"lags: got {lags}, expected 0 to {steps}, the number of steps")
    direct = _at_own_end(recurrence, direct)

    def entering(number: int | jax.Array, register: WideRange) -> WideRange:
        """d of this state as the youngest of the register, the oldest falls out."""
        new = wide_range.from_floats(at_step(direct, number), 1)
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), new, register)

    def body(
        carry: tuple[WideRange, list[WideRange]], number: jax.Array
    ) -> tuple[tuple[WideRange, list[WideRange]], None]:
        register, total = carry
        shares, register = pull_back(recurrence, at_step(states, number), register, number)
        return (entering(number, register), list(map(wide_range.add_unnormalized, total, shares))), None

    def empty(leaf: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.zeros_like(leaf, shape=(lags + 1, *shape))

    register = wide_range.from_floats(jax.tree.map(lambda leaf: empty(leaf, leaf.shape[1:]), direct), 2)
    none = [wide_range.from_floats(empty(leaf, leaf.shape), 1) for leaf in jax.tree.leaves(recurrence.params)]
    (_, total), _ = lax.scan(body, (entering(steps, register), none), jnp.arange(steps), reverse=True)
    return total


def _at_own_end(recurrence: Recurrence, direct: Tree) -> Tree:
    """d_t of padded states added to that of the row's last own state, which they all are."""
    ends = recurrence.lengths
    if ends is None:
        return direct
    times = jnp.arange(step_count(recurrence) + 1)[:, None]
    behind, last = times > ends, times == ends

    def moved(leaf: jax.Array) -> jax.Array:
        nothing = jnp.zeros_like(leaf)
        own, padding = where_rows(behind, nothing, leaf), where_rows(behind, leaf, nothing)
        return where_rows(last, own + padding.sum(axis=0), own)

    return jax.tree.map(moved, direct)
