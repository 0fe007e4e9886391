"""Correlations are NumPy's; levels of chance are those of noise and are passed by what belongs together."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dlcore.runs.black_box.correlations import bootstrap_interval, correlate, shift_level

GENERATOR = np.random.default_rng(0)


def slow(frames, columns, seed):
    noise = np.random.default_rng(seed).standard_normal((frames, columns))
    return gaussian_filter1d(noise, 15, axis=0, mode="wrap")


def test_correlations_are_numpys_where_both_are_known():
    units, features = GENERATOR.normal(size=(60, 4)), GENERATOR.normal(size=(60, 2))
    units[:, 3] = 7.0
    features[10:20, 1] = np.nan
    found = correlate(units, features)
    for k, known in enumerate((np.ones(60, bool), np.isfinite(features[:, 1]))):
        expected = [np.corrcoef(units[known, u], features[known, k])[0, 1] for u in range(3)]
        np.testing.assert_allclose(found[:3, k], expected)
    assert found[3].tolist() == [0, 0]


def test_the_level_of_shifts_is_that_of_a_loop():
    units, feature = slow(200, 3, 1), slow(200, 1, 2)[:, 0]
    largest = [np.abs(correlate(units, np.roll(feature, shift)[:, None])).max() for shift in range(20, 181)]
    assert shift_level(units, feature, apart=20) == pytest.approx(np.quantile(largest, 0.95))
    assert np.isnan(shift_level(units[:30], feature[:30], apart=20))


def test_what_belongs_together_passes_the_level_and_noise_does_not():
    feature = slow(5000, 1, 3)[:, 0]
    noise = slow(5000, 20, 4)
    level = shift_level(noise, feature, apart=50)
    assert 0.1 < level < 0.5
    together = feature[:, None] + noise[:, :1]
    assert np.abs(correlate(together, feature[:, None])).max() > 2 * level


def test_the_interval_holds_the_correlation_and_shrinks_with_more_recordings():
    def interval(recordings):
        features = [slow(300, 1, seed)[:, 0] for seed in range(recordings)]
        units = [feature + slow(300, 1, 1000 + n)[:, 0] for n, feature in enumerate(features)]
        whole = np.corrcoef(np.concatenate(units), np.concatenate(features))[0, 1]
        low, high = bootstrap_interval(units, features, np.random.default_rng(0))
        assert low < whole < high
        return high - low

    assert interval(400) < 0.5 * interval(50)
    assert bootstrap_interval([np.ones(5)] * 3, [np.arange(5.0)] * 3, np.random.default_rng(0)) == (0, 0)
