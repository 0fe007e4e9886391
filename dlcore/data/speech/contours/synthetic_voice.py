"""Synthetic speech of a source and a filter, whose pitch, loudness and rate are known."""

from typing import NamedTuple

import numpy as np

from dlcore.data.batch import check_generator
from dlcore.data.speech.contours.recordings import FRAME_RATE, samples_per_frame
from dlcore.utils.checks import check_integer, check_number

FORMANTS = np.array(
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]], float
)
"""The formants in Hz of the vowels in father, bet, beat, bought and boot (Peterson & Barney 1952, men)."""

BANDWIDTHS = np.array([90, 110, 170], float)
BREATH = 1e-3


class SyntheticSpeech(NamedTuple):
    """A synthetic waveform and what it was made of.

    Attributes:
        waveform: float32 ``[T M]``, M samples for each of T frames.
        pitch: the fundamental frequency in Hz at the middle of each frame, ``[T]``; NaN where nothing is voiced.
        level: the level of the voice in dB, ``[T]``, between syllables as well.
    """

    waveform: np.ndarray
    pitch: np.ndarray
    level: np.ndarray


def synthetic_speech(
    generator: np.random.Generator,
    frames: int,
    rate: int = 8000,
    *,
    pitch: float = 120.0,
    pitch_range: float = 4.0,
    level_range: float = 8.0,
    syllables: float = 4.0,
) -> SyntheticSpeech:
    """Synthetic speech: no language, but syllables with a pitch, a loudness and a vowel each.

    The source has harmonics that fall by 6 dB an octave; the filter has three formants, which go from vowel to vowel.
    A syllable begins with 20 % noise and 10 % silence. Pitch and level wander slowly about their means.

    Args:
        generator: draws the syllables.
        frames: T, the number of frames of 40 ms.
        rate: the sampling rate in Hz, a multiple of 25.
        pitch: the mean fundamental frequency in Hz.
        pitch_range: the standard deviation of the pitch in semitones.
        level_range: the standard deviation of the level in dB.
        syllables: the number of syllables in a second.

    Raises:
        TypeError: an argument has another type.
        ValueError: a number is out of its range, or the rate is no multiple of 25.

    >>> speech = synthetic_speech(np.random.default_rng(0), frames=50)
    >>> speech.waveform.shape, speech.pitch.shape
    ((16000,), (50,))
    """
    check_generator(generator)
    check_integer("frames", frames)
    samples = frames * samples_per_frame(rate, 1000)
    check_number("pitch", pitch, "[40, 500]")
    for name, value in (("pitch_range", pitch_range), ("level_range", level_range)):
        check_number(name, value, "[0, 30]")
    check_number("syllables", syllables, "[0.5, 10]")
    time = np.arange(samples) / rate
    semitones = pitch_range * _wander(generator, frames, 2.0)
    level = level_range * _wander(generator, frames, 3.0)
    middles = (np.arange(frames) + 0.5) / FRAME_RATE
    hertz = pitch * 2 ** (np.interp(time, middles, semitones) / 12)
    place = time * syllables
    voiced, noisy = _syllable_parts(place % 1)
    vowels = FORMANTS[generator.integers(len(FORMANTS), size=int(place[-1]) + 2)]
    source = _harmonics(hertz, _between(vowels, place), rate) * voiced
    hiss = generator.standard_normal(samples) * noisy
    loud = 10 ** (np.interp(time, middles, level) / 20)
    breath = BREATH * generator.standard_normal(samples)
    waveform = 0.05 * loud * (source + 0.2 * hiss) + breath
    is_voiced = _syllable_parts(middles * syllables % 1)[0] > 0.5
    known = np.where(is_voiced, np.interp(middles, time, hertz), np.nan)
    return SyntheticSpeech(waveform.astype(np.float32), known.astype(np.float32), level.astype(np.float32))


def _wander(generator: np.random.Generator, frames: int, seconds: float) -> np.ndarray:
    """A smooth random contour ``[T]`` with about the mean 0 and the deviation 1, which turns after some seconds."""
    knots = generator.standard_normal(int(frames / FRAME_RATE / seconds) + 4)
    place = np.arange(frames) / FRAME_RATE / seconds + 1
    whole, part = place.astype(int), place % 1
    weights = (1 - np.cos(np.pi * part)) / 2
    return (1 - weights) * knots[whole] + weights * knots[whole + 1]


def _syllable_parts(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much voice and how much noise there is at a part, 0 to 1, of a syllable: silence, noise, then the voice."""
    ramp = lambda start, stop: np.clip((part - start) / 0.05, 0, 1) * np.clip((stop - part) / 0.05, 0, 1)
    return ramp(0.3, 1.0), ramp(0.1, 0.3)


def _between(vowels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The formants ``[3, N]`` at places between the vowels ``[V, 3]``."""
    return np.stack([np.interp(place, np.arange(len(vowels)), formant) for formant in vowels.T])


def _harmonics(hertz: np.ndarray, formants: np.ndarray, rate: int) -> np.ndarray:
    """The harmonics of a fundamental frequency ``[N]`` through formants ``[3, N]``."""
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    total = np.zeros_like(hertz)
    for number in range(1, int(rate / 2 / hertz.min()) + 1):
        frequency = number * hertz
        gain = sum(
            1 / (1 + ((frequency - formant) / width) ** 2)
            for formant, width in zip(formants, BANDWIDTHS, strict=True)
        )
        heard = np.clip((0.5 * rate - frequency) / 200, 0, 1)  # nothing at or above half the rate
        total += heard * (gain + 0.1) / number * np.sin(number * phase)
    return total
