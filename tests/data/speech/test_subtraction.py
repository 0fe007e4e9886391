"""Spectral subtraction takes steady noise out of a waveform that pauses."""

import numpy as np
import pytest

from dlcore.data.speech.noise import colored_noise, mix
from dlcore.data.speech.subtraction import spectral_subtraction
from dlcore.ops.si_sdr import si_sdr


def pulses():
    """A tone that is on for a tenth of a second and off for as long."""
    time = np.arange(8000) / 8000
    return (np.sin(2 * np.pi * 600 * time) * (time * 5 % 1 < 0.5)).astype(np.float32)


def test_it_gains_on_a_tone_in_white_noise():
    clean = pulses()
    noisy = mix(clean, colored_noise(np.random.default_rng(0), len(clean)), 0.0)
    assert float(si_sdr(spectral_subtraction(noisy), clean)) > float(si_sdr(noisy, clean)) + 5


def test_without_a_factor_it_changes_nothing():
    wave = pulses()
    np.testing.assert_allclose(spectral_subtraction(wave, factor=0.0), wave, atol=1e-5)
    np.testing.assert_allclose(spectral_subtraction(wave, floor=1.0), wave, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 255, 256, 1000])
def test_the_length_stays(samples):
    result = spectral_subtraction(np.ones(samples, np.float32))
    assert result.shape == (samples,)
    assert np.isfinite(result).all()


def test_silence_stays_silent():
    assert not spectral_subtraction(np.zeros(500, np.float32)).any()
