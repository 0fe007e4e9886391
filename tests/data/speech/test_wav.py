"""WAV files of every type, rate and number of channels are read; what is written is read by other programs."""

import io
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from dlcore.data.speech.wav import read_wav, read_wavs, wav_bytes

WAVE = np.array([0.0, 0.5, -0.5, 0.25], np.float32)


def tone(rate, hertz=440.0, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 2**7), ("float32", 1, 0), ("float64", 1, 0)],
)
def test_every_type_of_samples_is_in_one_scale(tmp_path, dtype, scale, offset):
    wavfile.write(tmp_path / "a.wav", 8000, (WAVE * scale + offset).astype(dtype))
    samples = read_wav(tmp_path / "a.wav", 8000)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, WAVE)


def test_channels_are_averaged(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([WAVE, 0 * WAVE], axis=1))
    np.testing.assert_array_equal(read_wav(str(tmp_path / "a.wav"), 8000), WAVE / 2)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_a_tone_of_another_rate_keeps_its_frequency(tmp_path, rate):
    wavfile.write(tmp_path / "a.wav", rate, tone(rate))
    samples = read_wav(tmp_path / "a.wav", 8000)
    assert len(samples) == pytest.approx(4000, abs=1)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.fft.rfftfreq(len(samples), 1 / 8000)[spectrum.argmax()] == pytest.approx(440, abs=2)
    middle = slice(500, 3500)
    np.testing.assert_allclose(samples[middle], tone(8000)[middle], atol=0.02)


def test_what_the_new_rate_cannot_hold_is_filtered_out(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, tone(16000, hertz=7000))
    assert np.abs(read_wav(tmp_path / "a.wav", 8000)[100:-100]).max() < 0.01


def test_the_content_is_read_by_the_standard_library():
    with wave.open(io.BytesIO(wav_bytes([0.0, 0.5, -2.0], 11025))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (11025, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16384, -32767]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"text", b"RIFF\0\0\0\0WAVEfmt "])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"path: got .*a\.wav, which"):
        read_wav(tmp_path / "a.wav", 8000)


def test_an_empty_and_a_missing_file_are_refused(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, WAVE[:0])
    with pytest.raises(ValueError, match="has no samples"):
        read_wav(tmp_path / "a.wav", 8000)
    with pytest.raises(FileNotFoundError, match=r"path: got .*none, which is no file; expected a WAV file"):
        read_wav(tmp_path / "none", 8000)


def test_files_are_known_by_their_names(tmp_path):
    for name, folder in (("a", tmp_path), ("b", tmp_path), ("a", tmp_path / "more")):
        folder.mkdir(exist_ok=True)
        wavfile.write(folder / f"{name}.wav", 8000, WAVE)
    waves = read_wavs([tmp_path / "a.wav", tmp_path / "b.wav"], 8000)
    assert list(waves) == ["a", "b"]
    with pytest.raises(
        ValueError, match=r"path: got .*more/a\.wav and another file a, expected different names"
    ):
        read_wavs([tmp_path / "a.wav", tmp_path / "more" / "a.wav"], 8000)


def test_a_file_that_is_cut_short_is_named(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, tone(8000))
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"path: got .*a\.wav, which is cut short .*; copy it anew"):
        read_wav(tmp_path / "a.wav", 8000)
