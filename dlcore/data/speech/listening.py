"""Files to hear and to see what a method makes of noisy speech."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Union

import numpy as np

from dlcore.data.speech.wav import check_waveform, wav_bytes
from dlcore.plots.speech import spectrograms
from dlcore.utils.checks import check_callable, check_instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def listening_files(
    recordings: Mapping[str, Mapping[str, np.ndarray]],
    enhance: Callable[[np.ndarray], np.ndarray],
    rate: int,
) -> dict[str, Union[bytes, "Figure"]]:
    """Each recording before and after as WAV, and its spectrograms.

    The enhanced waveform y gets the factor with which it is nearest to the noisy one x, ``y . x / y . y``, since a
    model that was trained for the scale-invariant ratio may give it any loudness.

    Args:
        recordings: by name the waveforms of each, ``noisy`` and others such as ``clean``, each ``[N]``.
        enhance: ``enhance(noisy [N]) -> waveform [N]``.
        rate: the sampling rate in Hz.

    Returns:
        By file name ``NAME_noisy.wav``, ``NAME_enhanced.wav``, one for each other waveform, and the figure
        ``NAME.png``, for `Experiment.generate`.

    Raises:
        TypeError: the recordings are no dict of dicts of waveforms, ``enhance`` is no function, or the rate is not an
            integer.
        ValueError: a recording has no ``noisy``, or a waveform is empty or not finite, or the rate is below 1.
    """
    check_instance("recordings", recordings, Mapping, "a dict of waveforms by name")
    check_callable("enhance", enhance, "dl.data.spectral_subtraction")
    files: dict[str, bytes | Figure] = {}
    for name, given in recordings.items():
        check_instance(f"recordings[{name!r}]", given, Mapping, "a dict of waveforms by name")
        if "noisy" not in given:
            raise ValueError(f"recordings: got {name!r} without a waveform 'noisy', expected one")
        parts = {
            part: check_waveform(f"recordings[{name!r}][{part!r}]", wave) for part, wave in given.items()
        }
        noisy = parts.pop("noisy")
        enhanced = check_waveform("enhance", enhance(noisy))
        loudness = (enhanced @ noisy) / max(enhanced @ enhanced, 1e-12)
        parts = {"noisy": noisy, "enhanced": enhanced * loudness, **parts}
        files |= {f"{name}_{part}.wav": wav_bytes(wave, rate) for part, wave in parts.items()}
        files[f"{name}.png"] = spectrograms(parts, rate)
    return files
