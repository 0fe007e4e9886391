"""The ratio of a mixture is the one that was asked for, and noise has the spectrum of its color."""

import numpy as np
import pytest
from scipy.signal import welch

from dlcore.data.speech.noise import babble, colored_noise, mix


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("snr", [-20.0, -5.0, 0.0, 13.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_ratio_is_that_of_the_energies(snr, scale):
    clean, noise = generator().standard_normal((2, 500)) * [[1], [scale]]
    added = mix(clean, noise, snr).astype(np.float64) - clean
    assert 10 * np.log10((clean**2).sum() / (added**2).sum()) == pytest.approx(snr, abs=1e-3)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1, abs=1e-5)


def test_silence_has_no_ratio():
    wave = np.ones(3, np.float32)
    np.testing.assert_array_equal(mix(0 * wave, wave, 0.0), 0 * wave)
    np.testing.assert_array_equal(mix(wave, 0 * wave, 0.0), wave)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_power_falls_with_the_frequency(exponent):
    noise = colored_noise(generator(), 2**16, exponent)
    assert noise.dtype == np.float32
    assert np.mean(noise.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-5)
    assert abs(noise.mean()) < 1e-6
    frequency, power = welch(noise.astype(np.float64), nperseg=1024)
    slope, _ = np.polyfit(np.log(frequency[8:-8]), np.log(power[8:-8]), 1)
    assert slope == pytest.approx(-exponent, abs=0.05)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_few_samples_of_noise(samples):
    noise = colored_noise(generator(), samples, 1.0)
    assert noise.shape == (samples,)
    assert np.isfinite(noise).all()


def test_noise_is_a_function_of_its_generator():
    first, second = (colored_noise(generator(), 9) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_babble_adds_up_parts_of_the_recording():
    recording = np.arange(10.0)
    one = babble(generator(), recording, 25, voices=1)
    np.testing.assert_array_equal(np.diff(one) % 10, 1)  # it goes on with its beginning
    starts = generator().integers(10, size=3)
    expected = sum(recording[(start + np.arange(4)) % 10] for start in starts)
    np.testing.assert_array_equal(babble(generator(), recording, 4, voices=3), expected)
