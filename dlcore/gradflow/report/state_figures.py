"""Figures of the state that a recurrence carries: its Lyapunov exponents, and the gates that keep it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import LOST_DIRECTION, PALETTE, draw_line, finish_axes
from dlcore.plots.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_spectra(exponents: Mapping[str, ArrayLike], sizes: Mapping[str, int] | None = None) -> "Figure":
    """Lyapunov exponents against their place in the spectrum: above 0 gradients explode in that direction.

    Args:
        exponents: by name ``[n]`` nats a step, of `lyapunov.spectrum`.
        sizes: by name how many exponents there are where only the largest are given.
    """
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for number, (name, values) in enumerate(exponents.items()):
        ordered = -np.sort(-np.asarray(values, float))
        places = (np.arange(len(ordered)) + 0.5) / (sizes or {}).get(name, len(ordered))
        largest = f"{name}: largest {ordered[0]:+.3g}" if len(ordered) else name
        draw_line(axes, places, ordered, PALETTE[number % len(PALETTE)], largest, LOST_DIRECTION)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="i / n", ylabel="nats a step", title="Lyapunov exponents", xlim=(0, 1))
    finish_axes(axes)
    return figure


def plot_gates(statistics: Mapping[str, Any], keeping: str, half_life: float) -> "Figure":
    """What the gates of a cell do, unit by unit, and how little their own forgetting says of the gradient's.

    Units are sorted by the half-life that the keeping gate alone would give them, the longest at the top: ln 2 over
    minus the mean of its logarithm.

    Args:
        statistics: by the gate's name ``mean``, ``open``, ``closed`` and ``mean_log``, each ``[T, H]``; of
            `gates.statistics`.
        keeping: the name of the gate that multiplies the old state, ``"forget"`` of an LSTM, ``"update"`` of a GRU.
        half_life: in steps, what it truly is: ``ln 2 / -lambda_1``; inf where nothing decays.
    """
    rates = _mean_over_time(statistics[keeping].mean_log)
    with np.errstate(divide="ignore"):
        alone = np.log(2) / -np.minimum(rates, 0)
    order = np.argsort(-alone)
    count = len(statistics)
    figure = new_figure(3.4 * (count + 2), 4)
    panels = figure.subplots(1, count + 2, width_ratios=[1.2] * count + [1, 1.2])
    for axes, (name, gate) in zip(panels, statistics.items(), strict=False):
        units = np.asarray(gate.mean, float)[:, order].T
        shown = axes.imshow(units, aspect="auto", cmap="RdBu_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="t", ylabel="unit" if axes is panels[0] else "", title=f"{name} gate")
    figure.colorbar(shown, ax=panels[:count].tolist(), label="closed 0, open 1")
    _saturation(panels[-2], statistics)
    _half_lives(panels[-1], alone[order], half_life)
    return figure


def _saturation(axes: "Axes", statistics: Mapping[str, Any]) -> None:
    """The share of open and of closed gates among all units and steps."""
    places = np.arange(len(statistics))
    opened, closed = (
        np.array([_mean_over_time(getattr(gate, side)).mean() for gate in statistics.values()])
        for side in ("open", "closed")
    )
    axes.bar(places, opened, color="#b2182b", label="open: > .95")
    axes.bar(places, -closed, color="#2166ac", label="closed: < .05")
    for place, up, down in zip(places, opened, closed, strict=True):
        axes.annotate(f"{up:.0%}", (place, up), (0, 2), textcoords="offset points", ha="center", fontsize=8)
        axes.annotate(
            f"{down:.0%}", (place, -down), (0, -10), textcoords="offset points", ha="center", fontsize=8
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, list(statistics))
    axes.set(ylim=(-1.15, 1.15), title="saturated share", yticks=[])
    finish_axes(axes)


def _half_lives(axes: "Axes", alone: np.ndarray, half_life: float) -> None:
    from matplotlib.ticker import LogLocator

    known = np.isfinite(alone) & (alone > 0)
    axes.plot(alone[known], np.flatnonzero(known), ".", color=PALETTE[1], label="of each unit's gate alone")
    if np.isfinite(half_life):
        axes.axvline(half_life, color=PALETTE[0], label=f"of the gradient: {half_life:.3g}")
    else:
        axes.plot([], [], color=PALETTE[0], label="the gradient does not decay")
    axes.set(xscale="log", ylim=(len(alone) - 0.5, -0.5), xlabel="steps", title="half-life")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    finish_axes(axes)


def _mean_over_time(values: ArrayLike) -> np.ndarray:
    """``[T, H] -> [H]`` over the steps that some row has."""
    array = np.asarray(values, float)
    return array[~np.isnan(array).all(axis=1)].mean(axis=0)
