"""Noise, and speech in noise at a given signal-to-noise ratio."""

from typing import Any

import numpy as np

from dlcore.data.batch import check_generator
from dlcore.data.speech.wav import check_waveform
from dlcore.utils.checks import check_integer, check_number


def colored_noise(generator: np.random.Generator, samples: int, exponent: float = 0.0) -> np.ndarray:
    """Synthetic Gaussian noise whose power falls with the frequency, ``S(f) ~ 1 / f^exponent``, with the mean 0.

    Args:
        generator: draws the noise.
        samples: N, the number of samples.
        exponent: 0 is white noise, 1 pink (3 dB less an octave), 2 brown (6 dB less).

    Returns:
        Float32 ``[N]`` with a mean square of 1; 0 for a single sample.

    Raises:
        TypeError: the generator is none, the samples are not an integer, or the exponent is not a number.
        ValueError: there are less than 1 sample, or the exponent is not finite.
    """
    check_generator(generator)
    check_integer("samples", samples)
    check_number("exponent", exponent)
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    frequencies = np.arange(len(spectrum))
    frequencies[0] = 1
    spectrum *= frequencies ** (-exponent / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, samples)
    power = np.sqrt(np.mean(noise**2))
    return (noise / (power or 1)).astype(np.float32)


def babble(generator: np.random.Generator, recording: Any, samples: int, voices: int = 4) -> np.ndarray:
    """Noise of real speech: the sum of ``voices`` parts of a recording, each from a random place on.

    Args:
        generator: draws the places.
        recording: a long waveform ``[M]``, for instance of many prompts one after the other. After its end it goes on
            with its beginning.
        samples: N, the number of samples.
        voices: how many parts are added up.

    Returns:
        A waveform, float32 ``[N]``.

    Raises:
        TypeError: the generator is none, the recording is no array of real numbers, or a number is not an integer.
        ValueError: the recording has no sample or another rank, or a number is below 1.
    """
    check_generator(generator)
    recording = check_waveform("recording", recording)
    return add_voices(
        generator, recording, check_integer("samples", samples), check_integer("voices", voices)
    )


def add_voices(
    generator: np.random.Generator, recording: np.ndarray, samples: int, voices: int
) -> np.ndarray:
    """As `babble`, of arguments that were checked: a long recording is not read as a whole for each row."""
    starts = generator.integers(len(recording), size=voices)
    places = starts[:, None] + np.arange(samples)
    return recording.take(places, mode="wrap").sum(axis=0).astype(np.float32)


def mix(clean: Any, noise: Any, snr: float) -> np.ndarray:
    """Speech in noise, ``clean + g noise``, where g > 0 gives the signal-to-noise ratio in dB:

    ``10 log10(sum clean^2 / sum (g noise)^2) = snr``. Both sums are over the whole waveforms, with their pauses.

    Args:
        clean: a waveform ``[N]``.
        noise: a waveform ``[N]``.
        snr: the ratio in dB.

    Returns:
        A waveform, float32 ``[N]``. It is ``clean`` if one of the two waveforms is silent, as no g gives the ratio
        then.

    Raises:
        TypeError: a waveform is no array of real numbers, or the ratio is not a number.
        ValueError: a waveform has another rank, no sample, or one that is not finite; their lengths differ; or the
            ratio is not finite.

    >>> mix([2.0, 0.0], [0.0, 1.0], snr=12.0412).round(4).tolist()
    [2.0, 0.5]
    """
    clean, noise = check_waveform("clean", clean), check_waveform("noise", noise)
    check_number("snr", snr)
    if clean.shape != noise.shape:
        raise ValueError(f"noise: got {len(noise)} samples for {len(clean)} of clean, expected as many")
    speech, disturbance = (
        np.sum(np.square(clean, dtype=np.float64)),
        np.sum(np.square(noise, dtype=np.float64)),
    )
    if not speech or not disturbance:
        return clean.astype(np.float32)
    gain = np.sqrt(speech / disturbance) * 10 ** (-snr / 20)
    return (clean + gain * noise).astype(np.float32)
