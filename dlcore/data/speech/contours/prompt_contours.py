"""Loudness and pitch of recorded prompts, smooth and late as the ratings of a listener are: real speech for anyone."""

from collections.abc import Sequence

import numpy as np

from dlcore.data.speech.contours.features import loudness, pitch
from dlcore.data.speech.contours.recordings import FRAME_RATE, Recording, samples_per_frame
from dlcore.data.speech.prompts import PROMPT_RATE, prompts
from dlcore.utils.checks import check_number

CONTOURS = ("loudness", "pitch")
"""The contours of `prompt_contours`."""
SMOOTH_SECONDS = 1.0
DELAY_SECONDS = 0.4
LOWEST_NOTE = 27.5
"""The frequency in Hz of 0 semitones, the A0."""


def prompt_contours(language: str, seconds: float = 60.0, limit: int | None = None) -> list[Recording]:
    """Prompts joined to recordings of a minute, with the contours loudness and pitch.

    The contours are those of `features.loudness` in LUFS and of `features.pitch` in semitones above 27.5 Hz, where
    frames without voice lie on the line between their neighbors. Each is the mean of a second, and comes 0.4 s after
    the sound, as the ratings of people do. The first 0.4 s are unknown. The voice has a root mean square of 0.1.

    Args:
        language: as in `prompts`.
        seconds: the length of a recording; what is left at the end of the prompts is left out.
        limit: how many prompts are read; None: all.

    Raises:
        TypeError, ValueError, FileNotFoundError: as in `prompts`; or the seconds are no number or less than 1; or the
            prompts are shorter than one recording.
        ModuleNotFoundError: as in `features.loudness` and `features.pitch`.
    """
    check_number("seconds", seconds, "[1, inf)")
    voice = np.concatenate(list(prompts(language, limit).values()))
    size = round(seconds * FRAME_RATE) * samples_per_frame(PROMPT_RATE)
    if len(voice) < size:
        raise ValueError(
            f"seconds: got {seconds}, expected at most {len(voice) / PROMPT_RATE:.0f}, those of all prompts"
        )
    voice *= 0.1 / np.sqrt(np.mean(np.square(voice, dtype=np.float64)))
    parts = voice[: len(voice) // size * size].reshape(-1, size)
    return [
        Recording(f"{language}-{number}", part, measured_contours(part, PROMPT_RATE))
        for number, part in enumerate(parts)
    ]


def measured_contours(waveform: np.ndarray, rate: int) -> np.ndarray:
    """The contours of one recording as `prompt_contours` has them, float32 ``[T, 2]``.

    Raises:
        TypeError, ValueError, ModuleNotFoundError: as in `features.loudness` and `features.pitch`.
    """
    semitones = fill_gaps(12 * np.log2(pitch(waveform, rate) / LOWEST_NOTE))
    contours = np.stack([loudness(waveform, rate), semitones], axis=1)
    return delay(smooth(contours, SMOOTH_SECONDS), DELAY_SECONDS)


def fill_gaps(contour: np.ndarray) -> np.ndarray:
    """A contour ``[T]`` whose NaN lie on the line between their neighbors; all NaN if nothing is known.

    >>> fill_gaps(np.array([np.nan, 1.0, np.nan, 3.0])).tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    known = np.isfinite(contour)
    if not known.any():
        return contour
    places = np.arange(len(contour))
    return np.interp(places, places[known], contour[known])


def smooth(contours: np.ndarray, seconds: float) -> np.ndarray:
    """The mean of contours ``[T, K]`` over some seconds around each frame."""
    from scipy.ndimage import uniform_filter1d

    return uniform_filter1d(contours, round(seconds * FRAME_RATE), axis=0, mode="nearest")


def delay(contours: np.ndarray, seconds: float) -> np.ndarray:
    """Contours ``[T, K]`` that come later, float32; NaN before."""
    frames = round(seconds * FRAME_RATE)
    late = np.full(contours.shape, np.nan, np.float32)
    late[frames:] = contours[: len(contours) - frames]
    return late


def standardize_contours(parts: Sequence[Sequence[Recording]]) -> list[list[Recording]]:
    """Parts of a data set whose contours have mean 0 and deviation 1 in the first part, which is for training.

    Args:
        parts: such as train, dev and test.
    """
    known = np.concatenate([recording.targets for recording in parts[0]])
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return [
        [recording._replace(targets=(recording.targets - mean) / deviation) for recording in part]
        for part in parts
    ]
