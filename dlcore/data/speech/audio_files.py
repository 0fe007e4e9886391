"""Waveforms in audio files of any kind that libsndfile reads: WAV, FLAC, OGG, MP3 and others."""

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.utils.checks import check_integer, check_number
from dlcore.utils.files import user_path


def read_audio(path: str | os.PathLike[str], rate: int) -> np.ndarray:
    """The waveform of an audio file at a sampling rate, its channels averaged.

    Another rate is changed by `scipy.signal.resample_poly`, whose filter keeps out what the new rate cannot hold.

    Args:
        path: the file, of any rate and number of channels.
        rate: the rate of the result in Hz.

    Returns:
        A waveform, float32 ``[N]``, in [-1, 1] if the file holds integers.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no audio file or has no samples, or the rate is below 1.
        TypeError: the path is no path, or the rate is not an integer.
        ModuleNotFoundError: soundfile is not installed; ``pip install 'dlcore[experiments]'``.
    """
    return np.concatenate(list(stream_audio(path, rate)))


def stream_audio(path: str | os.PathLike[str], rate: int, seconds: float = 60.0) -> Iterator[np.ndarray]:
    """The waveform of `read_audio` in parts, so that a long file needs no more memory than a short one.

    Args:
        path: as in `read_audio`.
        rate: as in `read_audio`.
        seconds: about the length of a part.

    Yields:
        Parts of the waveform, float32 ``[N]``, one after the other.

    Raises:
        Errors are those of `read_audio`, before the first part; or the seconds are no number or not above 0.
    """
    file, rate = user_path("path", path), check_integer("rate", rate)
    check_number("seconds", seconds, "(0, inf)")
    with _open(file) as sound:
        if not sound.frames:
            raise ValueError(f"path: got {file}, which has no samples")
        common = math.gcd(rate, sound.samplerate)
        up, down = rate // common, sound.samplerate // common
        size = max(math.ceil(seconds * sound.samplerate / down), 1) * down
        parts = (part.mean(axis=1) for part in sound.blocks(size, dtype="float32", always_2d=True))
        yield from parts if up == down else resample_parts(parts, up, down)


def _open(file: Path) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"path: got {file}, which is no file; expected an audio file")
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "soundfile: got no such package, which reads audio files; pip install 'dlcore[experiments]'"
        ) from error
    try:
        return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"path: got {file}, which is no audio file ({error})") from error


def resample_parts(parts: Iterable[np.ndarray], up: int, down: int) -> Iterator[np.ndarray]:
    """The waveform ``resample_poly(waveform, up, down)`` in parts, from the parts of a waveform.

    A sample is given out when all samples are there that SciPy's filter reads for it.

    Args:
        parts: arrays ``[N]``.
        up: the factor by which the rate rises.
        down: the factor by which it falls.
    """
    from scipy.signal import resample_poly

    reach = (
        math.ceil((10 * max(up, down) / up + 1) / down) * down
    )  # of the filter to each side, and a little more
    held, given = (
        np.zeros(0, np.float32),
        0,
    )  # samples that are still read, and how many of them were given out
    for part in itertools.chain(parts, [None]):
        held = held if part is None else np.concatenate([held, part])
        end = len(held) if part is None else (len(held) - reach) // down * down
        if end <= given:
            continue
        found = resample_poly(held, up, down)
        yield found[given * up // down : None if part is None else end * up // down].astype(np.float32)
        start = max(end - reach, 0)
        held, given = held[start:], end - start
