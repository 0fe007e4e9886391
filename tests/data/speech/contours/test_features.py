"""Energy, loudness and pitch are those of signals for which they are known."""

import numpy as np
import pytest

from dlcore.data.speech.contours import features
from dlcore.data.speech.contours.synthetic_voice import synthetic_speech

RATE = 8000


def sine(hertz, amplitude=1.0, seconds=2, rate=RATE):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate)


def test_energy_is_the_root_mean_square_of_each_frame():
    assert features.energy(sine(100, 0.5), RATE) == pytest.approx(0.5 / np.sqrt(2) * np.ones(50), rel=1e-4)
    assert len(features.energy(np.ones(979), 8000)) == 3  # an incomplete frame is left out


def test_the_range_is_that_of_the_second_around_a_frame():
    levels = np.repeat(np.r_[np.zeros(50), np.ones(50)], RATE // 25)
    expected = np.zeros(100)
    expected[38:62] = 1  # within 12 frames of the step
    assert features.energy_range(levels, RATE).tolist() == expected.tolist()


@pytest.mark.parametrize(("decibels", "rate"), [(0, 48000), (-20, 48000), (-20, 16000)])
def test_the_loudness_of_a_sine_is_that_of_the_standard(decibels, rate):
    """BS.1770: a sine of 997 Hz with the largest amplitude has -3.01 LUFS in one channel."""
    found = features.loudness(sine(997, 10 ** (decibels / 20), rate=rate), rate)
    assert found.shape == (50,)
    assert found[10:-10] == pytest.approx((decibels - 3.01) * np.ones(30), abs=0.1)


def test_low_tones_are_less_loud_and_silence_has_the_least_loudness():
    assert features.loudness(sine(50), RATE)[20] < features.loudness(sine(1000), RATE)[20] - 1
    assert (features.loudness(np.zeros(RATE), RATE) == features.QUIET).all()


def test_the_loudness_of_a_frame_is_that_of_the_400_ms_around_it():
    wave = np.r_[np.zeros(RATE), sine(1000, seconds=1)]
    found = features.loudness(wave, RATE)
    half = found[40] - 10 * np.log10(2)  # the middle of the block lies on the beginning of the tone
    assert found[24] == pytest.approx(half, abs=0.6)
    assert found[25] == pytest.approx(half, abs=0.6)
    assert found[19] < found[40] - 20


@pytest.mark.slow
@pytest.mark.parametrize("hertz", [90, 150, 250])
def test_the_pitch_of_synthetic_speech_is_found_without_errors_of_an_octave(hertz):
    pytest.importorskip("librosa")
    speech = synthetic_speech(np.random.default_rng(1), 1500, RATE, pitch=hertz)
    found = features.pitch(speech.waveform, RATE)
    assert found.shape == (1500,)
    both = np.isfinite(found) & np.isfinite(speech.pitch)
    assert both.sum() > 0.9 * np.isfinite(speech.pitch).sum()
    octaves = np.log2(found[both] / speech.pitch[both])
    assert (np.abs(octaves) > 0.5).mean() < 0.01
    assert np.median(np.abs(octaves)) < 0.01  # 12 cents
    late, early = (np.nanmedian(np.abs(np.log2(np.roll(found, by) / speech.pitch))) for by in (1, -1))
    assert min(late, early) > 1.5 * np.median(np.abs(octaves))  # the frames are aligned


def test_noise_has_no_pitch():
    pytest.importorskip("librosa")
    assert np.isnan(features.pitch(np.random.default_rng(0).standard_normal(RATE), RATE)).mean() > 0.8


@pytest.mark.parametrize(
    "feature", [features.energy, features.energy_range, features.loudness, features.pitch]
)
@pytest.mark.parametrize(
    ("waveform", "rate", "error", "named"),
    [
        ("text", RATE, TypeError, "waveform: got 'text'"),
        (np.ones((2, 400)), RATE, ValueError, r"waveform: got an array of shape \(2, 400\)"),
        (np.ones(319), RATE, ValueError, "waveform: got 319 samples, expected at least 320"),
        (np.full(400, np.nan), RATE, ValueError, "waveform: got an array"),
        (np.ones(9000), 8010, ValueError, "rate: got 8010, expected a multiple of 25"),
        (np.ones(9000), 8000.0, TypeError, "rate: got 8000.0"),
    ],
)
def test_bad_arguments_are_named(feature, waveform, rate, error, named):
    with pytest.raises(error, match=named):
        feature(waveform, rate)


def test_bounds_of_the_pitch_are_checked():
    with pytest.raises(
        ValueError, match=r"low, high: got 60.0, 5000, expected a lower and a higher one up to 4000"
    ):
        features.pitch(np.ones(9000), RATE, high=5000)
