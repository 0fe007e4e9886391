"""Features of speech that people have names for: energy, loudness and pitch, a number for each frame of 40 ms."""

from importlib import import_module
from typing import Any

import numpy as np

from dlcore.data.speech.contours.recordings import FRAME_RATE, samples_per_frame
from dlcore.data.speech.wav import check_waveform
from dlcore.utils.checks import check_number

QUIET = -70.0
"""The loudness in LUFS below which BS.1770 hears nothing; the least that `loudness` returns."""
BLOCK = 0.4
"""The seconds of a block of BS.1770's momentary loudness."""
RESOLUTION = 0.25
"""The steps of `pitch` in semitones: half of one is the largest error of rounding, and 0.1 takes 4 times as long."""


def energy(waveform: Any, rate: int) -> np.ndarray:
    """The root mean square of each frame, float32 ``[T]``.

    Args:
        waveform: finite numbers ``[N]``, at least one frame. An incomplete last frame is left out.
        rate: the sampling rate in Hz, a multiple of 25.

    Raises:
        TypeError: the waveform is not an array of real numbers, or the rate is not an integer.
        ValueError: the waveform has another rank, is shorter than a frame or is not finite; or the rate is no multiple
            of 25.

    >>> energy(np.tile([3.0, -3.0], 40), rate=1000).tolist()
    [3.0, 3.0]
    """
    frames = _frames(waveform, rate)
    return np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)).astype(np.float32)


def energy_range(waveform: Any, rate: int, seconds: float = 1.0) -> np.ndarray:
    """The largest `energy` minus the smallest one within some seconds around each frame, float32 ``[T]``.

    Args:
        waveform: as in `energy`.
        rate: as in `energy`.
        seconds: the length of the window, at least a frame.

    Raises:
        TypeError, ValueError: as in `energy`, or the seconds are no number or fewer than those of a frame.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    check_number("seconds", seconds, "[0.04, inf)")
    values, window = energy(waveform, rate), round(seconds * FRAME_RATE)
    return maximum_filter1d(values, window, mode="nearest") - minimum_filter1d(values, window, mode="nearest")


def loudness(waveform: Any, rate: int) -> np.ndarray:
    """The momentary loudness of ITU-R BS.1770-4 around each frame in LUFS, float32 ``[T]``, by pyloudnorm.

    It is the level of 400 ms of the waveform after the filters of that standard, which weight it about as a head and an
    ear do; at least -70. It says how loud a waveform is where 1 is the largest amplitude, and not how loud somebody
    spoke.

    Args:
        waveform: as in `energy`.
        rate: as in `energy`.

    Raises:
        TypeError, ValueError: as in `energy`.
        ModuleNotFoundError: pyloudnorm is not installed; ``pip install 'dlcore[experiments]'``.
    """
    frames = _frames(waveform, rate)
    module = _import("pyloudnorm", "experiments")
    meter = module.Meter(rate, block_size=BLOCK, overlap=1 - 1 / FRAME_RATE / BLOCK)
    around = round((BLOCK - 1 / FRAME_RATE) / 2 * rate)  # so that a block's middle is the middle of its frame
    with np.errstate(divide="ignore", invalid="ignore"):
        meter.integrated_loudness(np.pad(frames.ravel().astype(np.float64), around))
    return np.maximum(meter.blockwise_loudness[: len(frames)], QUIET).astype(np.float32)


def pitch(waveform: Any, rate: int, low: float = 60.0, high: float = 500.0) -> np.ndarray:
    """The fundamental frequency at each frame in Hz, float32 ``[T]``, by librosa's pYIN; NaN without voice.

    Sources: de Cheveigné & Kawahara 2002; Mauch & Dixon 2014.

    Args:
        waveform: as in `energy`.
        rate: as in `energy`.
        low: the lowest frequency in Hz.
        high: the highest frequency in Hz, at most half the rate.

    Raises:
        TypeError, ValueError: as in `energy`; or a frequency is not a number or out of its range.
        ModuleNotFoundError: librosa is not installed; ``pip install 'dlcore[speech]'``.
    """
    frames = _frames(waveform, rate)
    check_number("high", high, "(0, inf)")
    check_number("low", low, "(0, inf)")
    if not low < high <= rate / 2:
        raise ValueError(f"low, high: got {low}, {high}, expected a lower and a higher one up to {rate / 2}")
    module = _import("librosa", "speech")
    window = 1 << int(np.ceil(np.log2(3 * rate / low)))  # holds three periods of the lowest frequency
    hop = frames.shape[1]
    # librosa puts a window's middle at the beginning of a frame.
    late = np.pad(frames.ravel()[hop // 2 :], (0, hop // 2))
    hertz, _, _ = module.pyin(
        late, fmin=low, fmax=high, sr=rate, frame_length=window, hop_length=hop, resolution=RESOLUTION
    )
    return hertz[: len(frames)].astype(np.float32)


def _frames(waveform: Any, rate: int) -> np.ndarray:
    """The complete frames of a waveform, ``[T, M]``."""
    samples = check_waveform("waveform", waveform)
    size = samples_per_frame(rate)
    if len(samples) < size:
        raise ValueError(f"waveform: got {len(samples)} samples, expected at least {size}, those of a frame")
    return samples[: len(samples) // size * size].reshape(-1, size)


def _import(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name}: got no such package, which measures speech; pip install 'dlcore[{extra}]'"
        ) from error
