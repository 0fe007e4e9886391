"""Spectral subtraction, the classical way to take noise out of speech: a baseline for models."""

from typing import Any

import numpy as np

from dlcore.data.speech.wav import check_waveform
from dlcore.utils.checks import check_number

WINDOW, HOP = 256, 64


def spectral_subtraction(
    noisy: Any, factor: float = 2.0, floor: float = 0.1, quantile: float = 0.4
) -> np.ndarray:
    """Takes the steady part of each frequency's magnitude away from all frames (Boll 1979).

    ``|Y| = max(|X| - factor N, floor |X|)`` with the phase of X, the short-time Fourier transform of the noisy waveform
    in Hann windows of 256 samples. ``N`` is the noise at each frequency: a quantile of ``|X|`` over all frames, since
    speech pauses.

    Args:
        noisy: a waveform ``[N]``.
        factor: how many times the estimated noise is subtracted, at least 0.
        floor: the part of the magnitude that always stays, in [0, 1].
        quantile: the part of the frames that count as noise, in [0, 1].

    Returns:
        A waveform, float32 ``[N]``.

    Raises:
        TypeError: the waveform is no array of real numbers, or an option is no number.
        ValueError: the waveform has another rank, no sample, or one that is not finite; or an option is out of its
            bounds.
    """
    from scipy.signal import istft, stft

    noisy = check_waveform("noisy", noisy)
    check_number("factor", factor, "[0, inf)")
    check_number("floor", floor, "[0, 1]")
    check_number("quantile", quantile, "[0, 1]")
    padded = np.pad(noisy, (0, max(0, WINDOW - len(noisy))))
    _, _, spectrum = stft(padded, nperseg=WINDOW, noverlap=WINDOW - HOP)
    magnitude = np.abs(spectrum)
    noise = np.quantile(magnitude, quantile, axis=1, keepdims=True)
    kept = np.maximum(magnitude - factor * noise, floor * magnitude) / np.maximum(magnitude, 1e-12)
    _, result = istft(kept * spectrum, nperseg=WINDOW, noverlap=WINDOW - HOP)
    return result[: len(noisy)].astype(np.float32)
