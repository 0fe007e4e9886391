"""Synthetic speech has the pitch, the level and the rate that it was asked for."""

import numpy as np
import pytest

from dlcore.data.speech.contours.features import energy
from dlcore.data.speech.contours.synthetic_voice import synthetic_speech


def speak(seed=0, frames=500, **settings):
    return synthetic_speech(np.random.default_rng(seed), frames, **settings)


def test_the_pitch_is_the_distance_of_the_harmonics():
    speech = speak(pitch=200, pitch_range=0.0, syllables=1.0)
    frames = np.flatnonzero(np.isfinite(speech.pitch))
    assert speech.pitch[frames] == pytest.approx(200, rel=1e-5)
    frame = frames[10]
    spectrum = np.abs(np.fft.rfft(speech.waveform[frame * 320 :][:320] * np.hanning(320)))
    assert abs(spectrum[4:40].argmax() + 4) % 8 == 0  # 25 Hz a bin


def test_pitch_and_level_have_their_ranges():
    speech = speak(frames=5000, rate=2000, pitch=120, pitch_range=4.0, level_range=8.0)
    assert np.nanstd(12 * np.log2(speech.pitch / 120)) == pytest.approx(4, rel=0.35)
    assert speech.level.std() == pytest.approx(8, rel=0.35)
    voiced = np.isfinite(speech.pitch)
    heard = 20 * np.log10(energy(speech.waveform, 2000)[voiced])
    assert np.corrcoef(heard, speech.level[voiced])[0, 1] > 0.8


def test_syllables_come_at_their_rate():
    voiced = np.isfinite(speak(frames=2500, rate=1000, syllables=2.0).pitch).astype(int)
    assert (np.diff(voiced) == 1).sum() == pytest.approx(200, abs=2)


def test_equal_generators_give_equal_bits_and_no_sample_is_above_one():
    first, second, other = speak(3), speak(3), speak(4)
    assert (first.waveform == second.waveform).all()
    assert (first.waveform != other.waveform).any()
    assert first.waveform.dtype == np.float32
    assert np.abs(first.waveform).max() < 5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"frames": 0}, "frames: got 0"),
        ({"rate": 8010}, "rate: got 8010, expected a multiple of 25"),
        ({"pitch": 5.0}, "pitch: got 5.0"),
        ({"level_range": -1.0}, "level_range: got -1.0"),
        ({"syllables": 0.0}, "syllables: got 0.0"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        speak(**settings)
