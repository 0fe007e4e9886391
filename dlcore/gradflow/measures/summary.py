"""The gradient flow of one sequence in a handful of numbers, for tables of many configurations.

Gains, rates and half-lives are defined here; every table, figure and report uses them in this sense.
"""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import pull_back
from dlcore.gradflow.measures.lags import covering_lag
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    at_step,
    check_recurrence,
    step_count,
    trajectory,
)
from dlcore.gradflow.measures.tangents import flatten_state, random_basis, unflatten_state
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.ops.arrays import at_least_float32, check_floats, expand_to_rank
from dlcore.utils.checks import check_integer

PARTS = 16
"""The gain is in the table at this many lags: T/16, 2T/16, ..., T."""
GAINS = tuple(f"log10_gain_{part}/{PARTS}" for part in range(1, PARTS + 1))
MEASURES = (
    *("exponent_1", "half_life", "rate", "gain_half_life", "gain_halved_at"),
    *("covering_lag", "zero_gain", "first_nonfinite", "dead"),
)
NAMES = (*MEASURES, *GAINS)
"""The names of a summary with one exponent."""


def summary_names(exponents: int = 1) -> tuple[str, ...]:
    """Returns the names of the measures in a summary with this number of exponents, a tuple of strings."""
    return (*NAMES, *(f"exponent_{index}" for index in range(2, exponents + 1)))


def summarize(
    recurrence: Recurrence, probes: int = 8, exponents: int = 1, key: jax.Array | None = None
) -> dict[str, jax.Array]:
    """Measures the gradient flow of a single row; all results are scalars.

    - ``exponent_1``: largest Lyapunov exponent, nats a step; ``exponent_2`` and so on if ``exponents`` asks for them.
    - ``half_life``: ``ln 2 / -exponent_1``, steps; inf if exponent_1 >= 0. After many steps the gain halves in so many.
    - ``rate``: slope of log gain over the lags (`fit_rate`), nats a step.
    - ``gain_half_life``: ``ln 2 / -rate``, steps; inf if rate >= 0. It is that of the fitted line.
    - ``gain_halved_at``: the smallest lag at which the gain itself is 1/2 or less (`halved_at`); -1 if there is none.
    - ``covering_lag``: smallest lag up to which the norms of the parameters' gradient by lag add up to 90 % of their
      sum, for losses that read the last state in the probes' directions; -1 if a state is not finite.
    - ``zero_gain``: share of lags whose gain is exactly 0.
    - ``first_nonfinite``: first time step whose state is not finite; -1 if there is none.
    - ``dead``: share of the state's numbers that are exactly 0 throughout the second half of the sequence, as dead
      units of a ReLU are.
    - ``log10_gain_1/16`` to ``log10_gain_16/16``: log10 of the gain at the lags T/16 to T, rounded down.

    The gain at a lag is ``|ds_T / ds_{T-lag}|_F / sqrt(n)``, the root-mean-square factor by which a small random change
    of the state arrives ``lag`` steps later, as estimated by `jacobians.log_products_by_probes`.

    Args:
        recurrence: a recurrence of one row, B = 1, without ``lengths``: cut the row to its valid steps. Each step
            computes a gradient as large as ``params``, so few parameters are best; a bias suffices.
        probes: number of random directions for the norms.
        exponents: number of Lyapunov exponents; one exponent needs no decompositions.
        key: random key of the directions; None: ``jax.random.key(0)``.

    Returns:
        A dict: the measures, scalar arrays, by the names of `summary_names`.

    Raises:
        ValueError: B is not 1, there are lengths, probes or exponents is below 1, or exponents is more than n; or as in
            `check_recurrence`.
        TypeError: probes or exponents is not an integer, or the key no random key; or as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    if recurrence.lengths is not None:
        raise ValueError("lengths: got some, expected None; cut the row to its valid steps")
    states = trajectory(recurrence)
    rows = len(jax.tree.leaves(states)[0][0])
    if rows != 1:
        raise ValueError(f"recurrence: got {rows} rows, expected 1; summarize each row by jax.vmap")
    steps, vectors = step_count(recurrence), jax.vmap(flatten_state)(states)[:, 0]
    log_gains, log_gradients = _by_lag(recurrence, states, probes, key)
    exponent_1, *others = lyapunov_spectrum(recurrence, exponents, key=key)[0]
    rate, nonfinite = fit_rate(log_gains), first_nonfinite(states)[0]
    return {
        "exponent_1": exponent_1,
        "half_life": half_life(exponent_1),
        "rate": rate,
        "gain_half_life": half_life(rate),
        "gain_halved_at": halved_at(log_gains),
        "covering_lag": jnp.where(nonfinite < 0, covering_lag(log_gradients), -1),
        "zero_gain": jnp.isneginf(log_gains).mean(),
        "first_nonfinite": nonfinite,
        "dead": (vectors[steps // 2 :] == 0).all(axis=0).mean(),
        **{name: log_gains[part * steps // PARTS] / jnp.log(10) for part, name in enumerate(GAINS, 1)},
        **{f"exponent_{index}": exponent for index, exponent in enumerate(others, 2)},
    }


def first_nonfinite(states: Tree) -> jax.Array:
    """Returns for each row the first t at which the state ``s_t`` holds an infinity or a NaN; -1 if there is none.

    A ReLU network overflows without an error. Measures of gradients that pass such a state are NaN, so that they do
    not look like numbers.

    Args:
        states: arrays ``[T + 1, B, ...]`` from `trajectory`, ``s_0`` first.

    Returns:
        An array of integers ``[B]``.

    Raises:
        ValueError: there is no array, or one has fewer axes than time and rows.
        TypeError: a part of the states is not an array of floating point numbers.

    >>> first_nonfinite((jnp.array([[1.0, 1.0], [jnp.inf, 2.0], [jnp.nan, 3.0]]),)).tolist()
    [1, -1]
    """
    states = jax.tree.map(lambda leaf: check_floats("states", leaf, 2, "[T + 1, B, ...]"), states)
    if not jax.tree.leaves(states):
        raise ValueError("states: got a tree without arrays, expected those of trajectory(recurrence)")
    if not len(jax.tree.leaves(states)[0]):
        raise ValueError("states: got no time step, expected [T + 1, B, ...], the initial state first")
    broken = ~jax.vmap(lambda state: jnp.isfinite(flatten_state(state)).all(axis=-1))(states)
    return jnp.where(broken.any(axis=0), jnp.argmax(broken, axis=0), -1)


def fit_rate(log_norms: jax.Array, first: int = 0) -> jax.Array:
    """Fits a least-squares line through the finite log norms and returns its slope over the lags, in nats a step.

    For products of Jacobians over many lags the rate tends to the largest Lyapunov exponent.

    Args:
        log_norms: ``[lags, ...]``, lag 0 first; each trailing index has its own line.
        first: the lag at which the line begins, to leave out a transient.

    Returns:
        An array ``[...]`` of slopes; NaN where fewer than two log norms are finite.

    Raises:
        ValueError: first is below 0, or log_norms has no axis.
        TypeError: first is not an integer, or log_norms not an array of floating point numbers.

    >>> fit_rate(jnp.array([0.0, -0.5, -1.0, -jnp.inf, jnp.nan])).tolist()
    -0.5
    """
    log_norms = at_least_float32(check_floats("log_norms", log_norms, 1, "[lags, ...]"))
    log_norms = log_norms[check_integer("first", first, 0) :]
    finite = jnp.isfinite(log_norms)
    count = finite.sum(axis=0)
    lags = expand_to_rank(jnp.arange(len(log_norms), dtype=log_norms.dtype), log_norms.ndim)
    values = jnp.where(finite, log_norms, 0)
    centered = jnp.where(finite, lags - (finite * lags).sum(axis=0) / jnp.maximum(count, 1), 0)
    spread = (centered * centered).sum(axis=0)
    slope = (centered * values).sum(axis=0) / jnp.where(spread > 0, spread, 1)
    return jnp.where(count > 1, slope, jnp.nan)


def half_life(rate: jax.Array | float) -> jax.Array:
    """Returns the number of steps in which a gradient that falls at this rate is halved, ``-ln 2 / rate``.

    It belongs to a straight line of log norms. Where several modes decay, the sum of them is halved earlier than the
    slope of the slowest one says; `halved_at` finds that lag.

    Args:
        rate: numbers of any shape, in nats a step. The largest Lyapunov exponent gives ``half_life`` in tables, a rate
            from `fit_rate` gives ``gain_half_life``.

    Returns:
        An array of the same shape; inf where the rate is 0 or more, NaN where the rate is NaN.

    Raises:
        TypeError: the rate is neither a real number nor an array of floating point numbers.

    >>> half_life(jnp.array([-0.6931472, -jnp.inf, 0.0, 0.3])).tolist()
    [1.0, 0.0, inf, inf]
    """
    if isinstance(rate, float | int) and not isinstance(rate, bool):
        rate = jnp.asarray(float(rate))
    rate = at_least_float32(check_floats("rate", rate))
    decaying = jnp.where(rate < 0, rate, -1)
    return jnp.where(rate >= 0, jnp.inf, jnp.where(jnp.isnan(rate), jnp.nan, jnp.log(2.0) / -decaying))


def halved_at(log_norms: jax.Array) -> jax.Array:
    """Returns the smallest lag at which a norm is half of that at lag 0 or less, as measured; -1 if there is none.

    Args:
        log_norms: ``[lags, ...]``, lag 0 first; each trailing index has its own lag.

    Returns:
        An array ``[...]`` of integers.

    Raises:
        ValueError: log_norms has no axis.
        TypeError: log_norms is not an array of floating point numbers.

    >>> halved_at(jnp.log(jnp.array([1.0, 0.7, 0.4, 0.6]))).tolist()
    2
    """
    log_norms = at_least_float32(check_floats("log_norms", log_norms, 1, "[lags, ...]"))
    rounding = 4 * jnp.finfo(log_norms.dtype).eps
    halved = log_norms - log_norms[:1] <= rounding - jnp.log(2.0)
    lags = expand_to_rank(jnp.arange(len(log_norms)), log_norms.ndim)
    first = jnp.min(jnp.where(halved, lags, len(log_norms)), axis=0, initial=len(log_norms))
    return jnp.where(first < len(log_norms), first, -1)


def _by_lag(
    recurrence: Recurrence, states: Tree, probes: int, key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns log gains ``[T + 1]`` and the log norms ``[T]`` of the gradients of losses in the probes' directions.

    `jacobians.log_products_by_probes` and `lags.log_by_lag` give the same numbers. Here one loop over time computes
    both from the same cotangents, because another loop takes longer to compile than to run for many configurations.
    """
    steps, probes = step_count(recurrence), check_integer("probes", probes)
    basis = random_basis(recurrence, probes, key)[0].T
    finite = jnp.isfinite(jax.vmap(flatten_state)(states)).all(axis=(1, 2))

    def body(cotangents: WideRange, t: jax.Array) -> tuple[WideRange, tuple[jax.Array, jax.Array]]:
        shares, (values, exponent) = pull_back(recurrence, at_step(states, t), cotangents, t)
        sound = finite[t] & finite[t + 1]
        pulled = WideRange(jax.tree.map(lambda leaf: jnp.where(sound, leaf, jnp.nan), values), exponent)
        of_params = jnp.concatenate(list(map(wide_range.log_norm, shares)))
        of_states = wide_range.joint_log_norm(wide_range.log_norm(pulled))
        return pulled, (of_states, wide_range.joint_log_norm(of_params))

    ends = jax.vmap(lambda vector: unflatten_state(vector[None], at_step(states, steps)))(basis)
    last = wide_range.from_floats(ends, 2)
    _, (of_states, of_params) = lax.scan(body, last, jnp.arange(steps), reverse=True)
    of_states = jnp.concatenate([wide_range.joint_log_norm(wide_range.log_norm(last))[None], of_states[::-1]])
    return of_states[:, 0] - jnp.log(len(basis)) / 2, of_params[::-1]
