"""Rates from log norms, and half-lives from rates."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.summary import half_life, slope


def test_slope_skips_what_is_not_finite():
    lags = jnp.arange(50.0)
    line = 3 - 0.25 * lags
    table = jnp.stack([line, jnp.where(lags < 20, line, -jnp.inf), jnp.where(lags < 20, line, jnp.nan)], 1)
    np.testing.assert_allclose(slope(table), [-0.25] * 3, rtol=1e-5)
    np.testing.assert_allclose(slope(jnp.where(lags < 9, 0.0, line), first=9), -0.25, rtol=1e-5)
    random = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(slope(jnp.array(random)), np.polyfit(np.arange(50), random, 1)[0], rtol=1e-4)
    assert np.isnan(slope(jnp.array([0.0, -jnp.inf])))
    assert half_life(slope(line)) == pytest.approx(4 * np.log(2), rel=1e-5)
    assert np.isnan(half_life(jnp.nan))
