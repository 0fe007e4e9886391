"""Measures of a batch from those of its rows, which may have different lengths.

NaN marks what a row does not have: lags that are longer than the row, and the exponents of a row that is too short.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures.summary import fit_rate

FEW_ROWS = 5  # a mean over fewer rows says little about other rows


def rms_over_rows(logs: jax.Array) -> jax.Array:
    """Computes the log of the root mean square over the rows that have a lag.

    Args:
        logs: ``[lags, B]``, natural logarithms.

    Returns:
        An array ``[lags]``; NaN at a lag that no row has.

    >>> rms_over_rows(jnp.array([[0.5, 0.5], [-2.0, jnp.nan]])).tolist()
    [0.5, -2.0]
    """
    known = ~jnp.isnan(logs)
    norms = jax.nn.logsumexp(2 * logs, axis=1, where=known) / 2
    return jnp.where(known.any(axis=1), norms - jnp.log(jnp.maximum(known.sum(axis=1), 1)) / 2, jnp.nan)


def rate_within_rows(logs: jax.Array) -> jax.Array:
    """Fits the rate of the root mean square over rows, in nats a step, without the jumps where shorter rows end.

    Each step from one lag to the next compares the rows that have both lags. The least-squares line goes through the
    sum of these steps. If all rows have all lags, this is the line through `rms_over_rows`.

    Args:
        logs: ``[lags, B]``, natural logarithms, lag 0 first.

    Returns:
        A scalar array; NaN if fewer than two sums are finite.

    >>> lasting, fading = jnp.array([0.0, -0.1, -0.2, -0.3, -0.4]), jnp.array([0.0, -9.0, jnp.nan, jnp.nan, jnp.nan])
    >>> bool(rate_within_rows(jnp.stack([lasting, fading], axis=1)) < -0.1)
    True
    """
    after = rms_over_rows(logs[1:])
    before = rms_over_rows(jnp.where(jnp.isnan(logs[1:]), jnp.nan, logs[:-1]))
    steps = jnp.where(jnp.isneginf(after), -jnp.inf, after - before)
    return fit_rate(jnp.cumsum(jnp.concatenate([jnp.zeros_like(steps, shape=1), steps])))


def median_over_rows(values: jax.Array) -> jax.Array:
    """Computes the median ``[k]`` of ``[B, k]`` over the rows that are not NaN; NaN if there is none.

    Infinities count as numbers.

    >>> median_over_rows(jnp.array([[1.0, 5.0], [jnp.nan, jnp.nan], [2.0, -jnp.inf], [3.0, -jnp.inf]])).tolist()
    [2.0, -inf]
    """
    count = (~jnp.isnan(values)).sum(axis=0)
    last = jnp.full_like(values, jnp.nan, shape=(1, values.shape[1]))  # of a batch without rows
    ordered = jnp.concatenate([jnp.sort(values, axis=0), last])  # NaN comes last
    places = jnp.stack([jnp.maximum(count - 1, 0) // 2, count // 2])
    return jnp.take_along_axis(ordered, places, axis=0).mean(axis=0)


def range_over_rows(values: jax.Array) -> jax.Array:
    """Computes the smallest and the largest ``[2, k]`` of ``[B, k]`` over the rows that are not NaN; NaN without any.

    >>> range_over_rows(jnp.array([[1.0, 5.0], [jnp.nan, jnp.nan], [3.0, -jnp.inf]])).tolist()
    [[1.0, -inf], [3.0, 5.0]]
    """
    known = ~jnp.isnan(values)
    ends = jnp.stack(
        [values.min(axis=0, initial=jnp.inf, where=known), values.max(axis=0, initial=-jnp.inf, where=known)]
    )
    return jnp.where(known.any(axis=0), ends, jnp.nan)


def few_rows(rows: np.ndarray) -> np.ndarray:
    """Finds the lags that fewer than 5 rows have; if there are fewer than 5 rows, the lags that not all of them have.

    Args:
        rows: ``[lags]``, the number of rows at each lag, lag 0 first.

    Returns:
        Booleans ``[lags]``.

    >>> few_rows(np.array([16, 9, 4])).tolist(), few_rows(np.array([2, 2, 1])).tolist()
    ([False, False, True], [False, False, True])
    """
    return rows < min(FEW_ROWS, rows.max(initial=0))
