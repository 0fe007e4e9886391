"""Figures of waveforms: spectrograms, and how much better a waveform became."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure
from dlcore.plots.checks import as_numbers
from dlcore.utils.checks import check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW, RANGE = 256, 70


def spectrograms(waveforms: Mapping[str, Any], rate: int, title: str = "") -> "Figure":
    """A matplotlib figure with the spectrogram of each waveform in dB relative to its loudest place.

    The magnitudes are those of Hann windows of 256 samples, or of the shortest waveform. Each waveform has its own
    loudest place, since loudness says nothing of its quality.

    Args:
        waveforms: real numbers ``[N]`` by the name that stands above.
        rate: the sampling rate in Hz.
        title: the text above all.

    Raises:
        TypeError: ``waveforms`` is no dict, one of them is no array of real numbers, or the rate is not an integer.
        ValueError: there is no waveform, one has another rank or no sample, or the rate is below 1.
    """
    from scipy.signal import spectrogram

    check_instance("waveforms", waveforms, Mapping, "a dict of waveforms by name")
    waves = {name: as_numbers(f"waveforms[{name!r}]", wave, "[N]") for name, wave in waveforms.items()}
    if not waves:
        raise ValueError("waveforms: got none, expected at least one by name")
    rate = check_integer("rate", rate)
    window = min(WINDOW, *map(len, waves.values()))
    figure = new_figure(8, 0.6 + 2 * len(waves))
    panels = figure.subplots(len(waves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, wave) in zip(panels, waves.items(), strict=True):
        frequencies, times, power = spectrogram(wave, rate, "hann", window, window * 3 // 4, mode="magnitude")
        decibels = 20 * np.log10(np.maximum(power, 1e-12) / max(power.max(), 1e-12))
        mesh = axes.pcolormesh(times, frequencies / 1000, decibels, vmin=-RANGE, vmax=0, rasterized=True)
        axes.set(ylabel="kHz")
        axes.set_title(name, fontsize=10)
    panels[-1].set_xlabel("seconds")
    figure.colorbar(mesh, ax=list(panels), label="dB relative to the loudest place")
    figure.suptitle(title)
    return figure


def gain_by_snr(snr: Sequence[float], gains: Mapping[str, Any]) -> "Figure":
    """A matplotlib figure with one line for each method: how many dB better it makes waveforms of each quality.

    Args:
        snr: the signal-to-noise ratios in dB, ``[K]``.
        gains: the gains in dB of each method, ``[K]``, by its name. The first one is drawn in red; it should be the
            model's.

    Raises:
        TypeError: ``gains`` is no dict, or ratios or gains are no real numbers.
        ValueError: there is no method, or it has another number of gains than there are ratios.
    """
    ratios = as_numbers("snr", snr, "[K]")
    check_instance("gains", gains, Mapping, "a dict of gains by the name of their method")
    lines = {name: as_numbers(f"gains[{name!r}]", values, "[K]") for name, values in gains.items()}
    if not lines or any(len(line) != len(ratios) for line in lines.values()):
        raise ValueError(
            f"gains: got { ({name: len(line) for name, line in lines.items()}) } values, expected at least one method "
            f"with {len(ratios)}, one for each ratio"
        )
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for place, (name, line) in enumerate(lines.items()):
        color = COLORS["eval"] if place == 0 else None
        axes.plot(ratios, line, "o-", color=color, label=name, zorder=len(lines) - place)
    axes.axhline(0, color=COLORS["train"], linestyle="--", label="no processing")
    axes.set(xlabel="signal-to-noise ratio of the input in dB", ylabel="gain in dB")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure
