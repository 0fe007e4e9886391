"""Files before and after: their loudness, their names, and what other programs read in them."""

import io

import numpy as np
import pytest
from scipy.io import wavfile

from dlcore.data.speech.listening import listening_files

NOISY = np.sin(np.arange(400)).astype(np.float32)


def test_the_enhanced_waveform_is_as_loud_as_in_the_noisy_one():
    files = listening_files({"a": {"noisy": NOISY / 2, "clean": NOISY / 4}}, lambda wave: wave * 1e-3, 8000)
    assert list(files) == ["a_noisy.wav", "a_enhanced.wav", "a_clean.wav", "a.png"]
    waves = [wavfile.read(io.BytesIO(files[f"a_{name}.wav"])) for name in ("noisy", "enhanced", "clean")]
    assert {rate for rate, _ in waves} == {8000}
    noisy, enhanced, clean = (wave / 32767 for _, wave in waves)
    np.testing.assert_allclose(enhanced, noisy, atol=1e-4)
    np.testing.assert_allclose(clean, NOISY / 4, atol=1e-4)
    assert [axes.get_title() for axes in files["a.png"].axes[:3]] == ["noisy", "enhanced", "clean"]


def test_a_silent_result_stays_silent():
    files = listening_files({"a": {"noisy": NOISY}}, lambda wave: 0 * wave, 8000)
    assert not wavfile.read(io.BytesIO(files["a_enhanced.wav"]))[1].any()


def test_a_recording_without_its_noisy_waveform_is_refused():
    with pytest.raises(ValueError, match="recordings: got 'a' without a waveform 'noisy'"):
        listening_files({"a": {"clean": NOISY}}, lambda wave: wave, 8000)
