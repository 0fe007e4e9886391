"""Audio files of several kinds, rates and channels give the same waveform; what is none is named."""

import numpy as np
import pytest
import soundfile

from dlcore.data.speech.audio_files import read_audio

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
