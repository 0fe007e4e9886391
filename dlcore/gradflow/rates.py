"""From log norms over lags to a rate, and from a rate to a half-life."""

import jax
import jax.numpy as jnp


def slope(log_norms: jax.Array, first: int = 0) -> jax.Array:
    """The change of log norms a lag, in nats: the least-squares line through the finite ones.

    Of products of Jacobians over many lags it tends to the largest Lyapunov exponent.

    Args:
        log_norms: ``[lags, ...]``. first: the lag at which the line begins, behind a transient.

    Returns:
        ``[...]``; NaN where fewer than two are finite.

    >>> slope(jnp.array([0.0, -0.5, -1.0, -jnp.inf, jnp.nan])).tolist()
    -0.5
    """
    log_norms = log_norms[first:]
    finite = jnp.isfinite(log_norms)
    count = finite.sum(axis=0)
    lags = jnp.arange(len(log_norms), dtype=log_norms.dtype).reshape(-1, *[1] * (log_norms.ndim - 1))
    values = jnp.where(finite, log_norms, 0)
    centred = jnp.where(finite, lags - (finite * lags).sum(axis=0) / jnp.maximum(count, 1), 0)
    spread = (centred * centred).sum(axis=0)
    line = (centred * values).sum(axis=0) / jnp.where(spread > 0, spread, 1)
    return jnp.where(count > 1, line, jnp.nan)


def half_life(rate: jax.Array | float) -> jax.Array:
    """Steps after which half of a gradient is left, ``ln 2 / -rate``; inf where it does not decay.

    Args:
        rate: nats a step, a `slope` or a largest Lyapunov exponent.

    >>> half_life(jnp.array([-0.6931472, -jnp.inf, 0.0, 0.3])).tolist()
    [1.0, 0.0, inf, inf]
    """
    rate = jnp.asarray(rate)
    decays = jnp.where(rate < 0, rate, -1)
    return jnp.where(rate >= 0, jnp.inf, jnp.where(jnp.isnan(rate), jnp.nan, jnp.log(2.0) / -decays))
