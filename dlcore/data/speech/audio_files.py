"""Waveforms in audio files of any kind that libsndfile reads: WAV, FLAC, OGG, MP3 and others."""

import os
from math import gcd

import numpy as np

from dlcore.utils.checks import check_integer
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
    from scipy.signal import resample_poly

    file, rate = user_path("path", path), check_integer("rate", rate)
    if not file.is_file():
        raise FileNotFoundError(f"path: got {file}, which is no file; expected an audio file")
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "soundfile: got no such package, which reads audio files; pip install 'dlcore[experiments]'"
        ) from error
    try:
        samples, own_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"path: got {file}, which is no audio file ({error})") from error
    if not len(samples):
        raise ValueError(f"path: got {file}, which has no samples")
    waveform, common = samples.mean(axis=1), gcd(rate, own_rate)
    if rate != own_rate:
        waveform = resample_poly(waveform, rate // common, own_rate // common)
    return waveform.astype(np.float32)
