"""Audio files of several kinds, rates and channels give the same waveform; what is none is named."""

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from dlcore.data.speech.audio_files import read_audio, resample_parts, stream_audio

WAVE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)


@pytest.mark.parametrize(("ending", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.1)])
def test_each_kind_has_the_waveform(tmp_path, ending, tolerance):
    soundfile.write(tmp_path / f"a.{ending}", WAVE, 8000)
    found = read_audio(tmp_path / f"a.{ending}", 8000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WAVE, atol=tolerance)


def test_channels_are_averaged_and_rates_are_changed(tmp_path):
    fine = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "a.wav", np.stack([fine, np.zeros_like(fine)], axis=1), 44100)
    found = read_audio(tmp_path / "a.wav", 8000)
    assert len(found) == 8000
    np.testing.assert_allclose(found[100:-100], WAVE[100:-100], atol=5e-3)


def test_what_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"path: got .*a\.wav, which is no audio file"):
        read_audio(tmp_path / "a.wav", 8000)
    soundfile.write(tmp_path / "b.wav", WAVE[:0], 8000)
    with pytest.raises(ValueError, match=r"path: got .*b\.wav, which has no samples"):
        read_audio(tmp_path / "b.wav", 8000)
    with pytest.raises(FileNotFoundError, match=r"path: got .*c\.wav, which is no file"):
        read_audio(tmp_path / "c.wav", 8000)


@pytest.mark.parametrize(("up", "down"), [(160, 441), (2, 1), (1, 2), (3, 5), (80, 441)])
def test_parts_are_resampled_as_the_whole(up, down):
    wave = np.random.default_rng(0).standard_normal(30_011).astype(np.float32)
    expected = resample_poly(wave, up, down)
    for cuts in ([], [10_000, 20_000], [1, 2, 500, 501, 29_000], [30_010]):
        parts = list(resample_parts(np.split(wave, cuts), up, down))
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 60.0])
def test_a_stream_has_the_waveform_in_parts(tmp_path, seconds):
    soundfile.write(tmp_path / "a.wav", np.stack([WAVE, WAVE / 2], axis=1), 8000)
    for rate in (8000, 16000, 5000):
        parts = list(stream_audio(tmp_path / "a.wav", rate, seconds))
        assert max(map(len, parts)) <= max(2 * seconds * rate, 400)
        np.testing.assert_allclose(np.concatenate(parts), read_audio(tmp_path / "a.wav", rate), atol=1e-5)
