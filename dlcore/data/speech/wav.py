"""Waveforms in WAV files."""

import io
import os
import struct
import warnings
from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np

from dlcore.utils.checks import check_instance, check_integer, shown
from dlcore.utils.files import user_path


def read_wav(path: str | os.PathLike[str], rate: int) -> np.ndarray:
    """The waveform of a WAV file at a sampling rate, its channels averaged.

    Another rate is changed by `scipy.signal.resample_poly`, whose filter keeps out what the new rate cannot hold.

    Args:
        path: a WAV file of integers or floats, of any rate and number of channels.
        rate: the rate of the result in Hz.

    Returns:
        A waveform, float32 ``[N]``. Integers are divided by the size of the smallest one, so they lie in [-1, 1).

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no WAV file or has no samples, or the rate is below 1.
        TypeError: the path is no path, or the rate is not an integer.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    file, rate = user_path("path", path), check_integer("rate", rate)
    if not file.is_file():
        raise FileNotFoundError(f"path: got {file}, which is no file; expected a WAV file")
    try:
        with warnings.catch_warnings(
            action="ignore", category=wavfile.WavFileWarning
        ):  # chunks without sound
            warnings.filterwarnings("error", "Reached EOF prematurely", wavfile.WavFileWarning)
            own_rate, samples = wavfile.read(file)
    except wavfile.WavFileWarning as warning:
        raise ValueError(f"path: got {file}, which is cut short ({warning}); copy it anew") from warning
    except (ValueError, EOFError, struct.error, NameError) as error:  # SciPy's for a file that is cut short
        raise ValueError(f"path: got {file}, which is no WAV file ({error})") from error
    if not samples.size:
        raise ValueError(f"path: got {file}, which has no samples")
    waveform = _to_float(samples).reshape(len(samples), -1).mean(axis=1)
    common = gcd(rate, own_rate)
    if rate != own_rate:
        waveform = resample_poly(waveform, rate // common, own_rate // common)
    return waveform.astype(np.float32)


def read_wavs(paths: Sequence[str | os.PathLike[str]], rate: int) -> dict[str, np.ndarray]:
    """The waveforms of `read_wav` by the names of their files, without folder and ending.

    Args:
        paths: WAV files with different names.
        rate: as in `read_wav`.

    Raises:
        FileNotFoundError: as in `read_wav`.
        ValueError: two files have the same name; or as in `read_wav`.
        TypeError: the paths are no list; or as in `read_wav`.
    """
    check_instance("paths", paths, (list, tuple), "a list of paths")
    waves: dict[str, np.ndarray] = {}
    for path in paths:
        name = user_path("path", path).stem
        if name in waves:
            raise ValueError(f"path: got {path} and another file {name}, expected different names")
        waves[name] = read_wav(path, rate)
    return waves


def _to_float(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1]; the 8 bits of a WAV file have no sign."""
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples / np.float32(-float(np.iinfo(samples.dtype).min))


def wav_bytes(waveform: Any, rate: int) -> bytes:
    """The content of a WAV file of 16 bits with one channel; samples outside of [-1, 1] are clipped.

    Args:
        waveform: real numbers ``[N]``.
        rate: its sampling rate in Hz.

    Raises:
        TypeError: the waveform is not an array of real numbers, or the rate is not an integer.
        ValueError: the waveform has another rank or no sample, or a sample is not finite; or the rate is below 1.

    >>> content = wav_bytes([0.0, 0.5, -1.0], 8000)
    >>> content[:4], len(content)
    (b'RIFF', 50)
    """
    from scipy.io import wavfile

    samples, rate = check_waveform("waveform", waveform), check_integer("rate", rate)
    file = io.BytesIO()
    wavfile.write(file, rate, np.round(samples.clip(-1, 1) * 32767).astype(np.int16))
    return file.getvalue()


def check_waveform(name: str, waveform: Any) -> np.ndarray:
    """A waveform as a float array ``[N]``.

    Args:
        name: what error messages call it.
        waveform: finite real numbers ``[N]``.

    Raises:
        TypeError: it is not an array of real numbers.
        ValueError: it has another rank, no sample, or one that is not finite.
    """
    try:
        array = np.asarray(waveform)
    except ValueError:
        array = np.empty((), object)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: got {shown(waveform)}, expected real numbers [N]")
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"{name}: got an array of shape {array.shape}, expected finite numbers [N], at least one"
        )
    return array.astype(np.float32) if array.dtype.kind != "f" else array
