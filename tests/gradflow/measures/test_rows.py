"""A batch's measures from those of rows that have different lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.rows import (
    few_rows,
    median_over_rows,
    range_over_rows,
    rate_within_rows,
    rms_over_rows,
)
from dlcore.gradflow.measures.summary import fit_rate


def decaying(rates, lengths, lags=101):
    """Log gains ``[lags, B]`` that fall at these rates, NaN where a row is shorter than the lag."""
    times = np.arange(lags)[:, None]
    return jnp.asarray(np.where(times <= np.array(lengths), times * np.array(rates), np.nan), jnp.float32)


def test_the_rate_of_ragged_rows_that_all_decay_is_negative():
    """The end of seven rows of 20 steps that decay fast is no growth of the row of 100 steps that hardly decays."""
    rates, lengths = [-0.004, *np.linspace(-0.2, -1.55, 7)], [100] + [20] * 7
    gains = decaying(rates, lengths)
    mixed, within = fit_rate(rms_over_rows(gains)), rate_within_rows(gains)
    assert 0.004 < mixed < 0.006  # growth: what mixing rows of different lengths gives
    assert min(rates) < within < -0.0039


def test_the_rate_of_ragged_rows_is_that_of_the_ratios_of_the_same_rows():
    generator = np.random.default_rng(0)
    gains = np.asarray(decaying([-0.1, -0.3, 0.2], [9, 4, 0], 10)) + generator.normal(size=(10, 3)).astype(
        "float32"
    )
    chained = [0.0]
    for lag in range(1, 10):
        both = ~np.isnan(gains[lag])
        square = lambda logs, both=both: (np.exp(2 * logs[both])).mean()
        chained.append(chained[-1] + np.log(square(gains[lag]) / square(gains[lag - 1])) / 2)
    expected = np.polyfit(np.arange(10), chained, 1)[0]
    np.testing.assert_allclose(rate_within_rows(jnp.asarray(gains)), expected, rtol=1e-4)


def test_the_rate_of_equal_lengths_is_that_of_the_root_mean_square():
    gains = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)).astype("float32")).cumsum(axis=0)
    rates = jax.jit(lambda gains: (rate_within_rows(gains), fit_rate(rms_over_rows(gains))))(gains)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-4)


def test_a_gain_that_becomes_0_ends_the_line():
    gains = decaying([-0.5], [9], 10).at[4:].set(-jnp.inf)
    assert rate_within_rows(gains) == pytest.approx(-0.5, rel=1e-5)


def test_the_median_counts_the_rows_that_are_known():
    nan, inf = np.nan, np.inf
    values = jnp.array([[1.0, -inf, -inf, nan], [nan, 3.0, -inf, nan], [4.0, nan, 2.0, nan]])
    assert median_over_rows(values)[:3].tolist() == [2.5, -inf, -inf]
    assert np.isnan(median_over_rows(values)[3])
    assert np.isnan(median_over_rows(values[:0])).all()
    many = np.random.default_rng(0).normal(size=(7, 2)).astype("float32")
    np.testing.assert_allclose(median_over_rows(jnp.asarray(many)), np.median(many, axis=0))


def test_a_batch_without_rows_has_no_gain_and_no_rate():
    assert np.isnan(rms_over_rows(jnp.zeros((3, 0)))).all()
    assert np.isnan(rate_within_rows(jnp.zeros((3, 0))))


def test_the_range_over_rows_is_that_of_the_rows_that_have_a_value():
    values = np.array([[-0.1, np.nan, -np.inf], [0.3, np.nan, 2.0], [np.nan] * 3])
    low, high = np.asarray(range_over_rows(jnp.asarray(values)))
    np.testing.assert_allclose(low[[0, 2]], [-0.1, -np.inf])
    np.testing.assert_allclose(high[[0, 2]], [0.3, 2.0], rtol=1e-6)
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(range_over_rows(jnp.zeros((0, 2)))).all()


@pytest.mark.parametrize(
    ("rows", "few"), [([9, 5, 4, 0], [0, 0, 1, 1]), ([3, 3, 2], [0, 0, 1]), ([1, 1], [0, 0]), ([], [])]
)
def test_few_rows_are_fewer_than_five_or_than_all(rows, few):
    assert few_rows(np.array(rows, int)).tolist() == [bool(one) for one in few]
