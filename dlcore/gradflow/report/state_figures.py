"""Figures of the state that a recurrence carries: its Lyapunov exponents, and the gates that keep it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.measures.gates import Gate
from dlcore.gradflow.report.drawing import (
    LOST_DIRECTION,
    PALETTE,
    draw_line,
    finish_axes,
    palette_color,
    to_arrays,
)
from dlcore.plots.canvas import label_log_axis, new_figure
from dlcore.utils.checks import check_choice, check_instance, check_integer, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Nats a step: the axis of exponents reaches so far at least, as smaller ones are mostly rounding.
SMALLEST = 0.01


def plot_spectra(
    exponents: Mapping[str, ArrayLike],
    sizes: Mapping[str, int] | None = None,
    ranges: Mapping[str, ArrayLike] | None = None,
) -> "Figure":
    """A matplotlib figure of Lyapunov exponents, largest first, against their place i / n in the spectrum.

    There is one line for each name. Gradients explode in the directions whose exponent is above 0.

    Args:
        exponents: by name the exponents ``[k]`` in nats a step, from `lyapunov_spectrum`.
        sizes: by name n, the number of all exponents; without it, n is k.
        ranges: by name the smallest and the largest value ``[2, k]`` of each exponent among several rows, a shaded
            band.

    Raises:
        ValueError: an entry of exponents has another number of axes than 1, a size is below 1, or a range is not
            ``[2, k]``.
        TypeError: exponents or ranges is no dict of numbers, or sizes no dict of integers.
    """
    sizes = {} if sizes is None else sizes
    bands = to_arrays("ranges", {} if ranges is None else ranges, "[2, k]")
    check_instance("sizes", sizes, Mapping, "a dict of integers by name")
    for name, size in sizes.items():
        check_integer(f"sizes[{name!r}]", size)
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for index, (name, values) in enumerate(to_arrays("exponents", exponents, "[k]").items()):
        ordered = -np.sort(-values)
        places = (np.arange(len(ordered)) + 0.5) / sizes.get(name, len(ordered))
        label = f"{name}: largest {ordered[0]:+.3g}" if len(ordered) else name
        draw_line(axes, places, ordered, palette_color(index), label, LOST_DIRECTION)
        if name in bands:
            _draw_band(axes, places, bands[name], name, palette_color(index))
    axes.axhline(0, color="black", linewidth=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -SMALLEST), max(high, SMALLEST))
    axes.set(xlabel="place in the spectrum, i / n", ylabel="exponent, nats a step", xlim=(0, 1))
    axes.set_title("Lyapunov exponents")
    finish_axes(axes)
    return figure


def _draw_band(axes: "Axes", places: np.ndarray, band: np.ndarray, name: str, color: str) -> None:
    """Shades between the smallest and the largest exponents of the rows, where both are finite."""
    if band.shape != (2, len(places)):
        raise ValueError(f"ranges[{name!r}]: got shape {band.shape}, expected {(2, len(places))}")
    low, high = np.where(np.isfinite(band).all(axis=0), band, np.nan)
    axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)


def plot_gates(statistics: Mapping[str, Any], keeping: str, half_life: float) -> "Figure":
    """A matplotlib figure of a cell's gates, with one panel for each gate and two more.

    The panel of a gate is a map of its mean by unit and time step. The next panel has bars of the shares of open and of
    closed values of each gate. The last panel compares the half-life that each unit's keeping gate alone would give,
    ln 2 over minus the mean of its logarithm, with the half-life of the gradient. Units are sorted by the half-life of
    their keeping gate, the longest at the top.

    Args:
        statistics: a `Gate` by each gate's name, with arrays ``[T, H]``, from `gate_statistics`.
        keeping: the name of the gate that multiplies the old state: ``"forget"`` in an LSTM, ``"update"`` in a GRU.
        half_life: the true half-life ``ln 2 / -exponent_1`` in steps, that of many steps; inf if the gradient does not
            decay, NaN if it is not known.

    Raises:
        ValueError: keeping is no gate of the statistics.
        TypeError: statistics is no dict of `Gate`, or half_life not a number.
    """
    check_instance("statistics", statistics, Mapping, "a dict of Gate by the gate's name")
    if not statistics:
        raise ValueError("statistics: got no gate, expected at least one")
    check_choice("keeping", keeping, tuple(statistics))
    for name, gate in statistics.items():
        check_instance(f"statistics[{name!r}]", gate, Gate, "a Gate of gate_statistics")
    if not isinstance(half_life, float | int | np.number):
        raise TypeError(f"half_life: got {shown(half_life)}, expected a number of steps, inf or NaN")
    rates = _mean_over_time(statistics[keeping].mean_log)
    with np.errstate(divide="ignore"):
        gate_half_lives = np.log(2) / -np.minimum(rates, 0)
    order = np.argsort(-gate_half_lives)
    count = len(statistics)
    figure = new_figure(3.4 * (count + 2), 4)
    panels = figure.subplots(1, count + 2, width_ratios=[1.2] * count + [1, 1.2])
    for axes, (name, gate) in zip(panels, statistics.items(), strict=False):
        units = np.asarray(gate.mean, float)[:, order].T
        extent = (0.5, units.shape[1] + 0.5, len(units) - 0.5, -0.5)  # the first step is t = 1
        image = axes.imshow(
            units, aspect="auto", cmap="RdBu_r", vmin=0, vmax=1, interpolation="nearest", extent=extent
        )
        ylabel = "unit, longest half-life first" if axes is panels[0] else ""
        axes.set(xlabel="time step t", ylabel=ylabel, title=f"{name} gate")
    figure.colorbar(image, ax=panels[:count].tolist(), label="mean of the gate: closed 0, open 1")
    _draw_saturation(panels[-2], statistics)
    _draw_half_lives(panels[-1], gate_half_lives[order], keeping, half_life)
    return figure


def _draw_saturation(axes: "Axes", statistics: Mapping[str, Any]) -> None:
    """Bars of the shares of open and of closed gates among all units and steps."""
    places = np.arange(len(statistics))
    opened, closed = (
        np.array([_mean_over_time(getattr(gate, side)).mean() for gate in statistics.values()])
        for side in ("open", "closed")
    )
    axes.bar(places, opened, color="#b2182b", label="open: > .95")
    axes.bar(places, -closed, color="#2166ac", label="closed: < .05")
    for place, up, down in zip(places, opened, closed, strict=True):
        for share, height, offset in ((up, up, 2), (down, -down, -10)):
            at: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
            axes.annotate(f"{share:.0%}", (place, height), (0, offset), **at)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, list(statistics))
    axes.set(ylim=(-1.15, 1.15), title="saturated share", yticks=[])
    finish_axes(axes)


def _draw_half_lives(axes: "Axes", gate_half_lives: np.ndarray, keeping: str, half_life: float) -> None:
    """Each unit's half-life by its gate alone, beside the true one."""
    known = np.isfinite(gate_half_lives) & (gate_half_lives > 0)
    label = f"by each {keeping} gate alone"
    axes.plot(gate_half_lives[known], np.flatnonzero(known), ".", color=PALETTE[1], label=label)
    if np.isfinite(half_life):
        axes.axvline(half_life, color=PALETTE[0], label=f"of the gradient: {half_life:.3g}")
    else:
        unknown = "half-life of the gradient not known"
        label = unknown if np.isnan(half_life) else "the gradient does not decay"
        axes.plot([], [], color=PALETTE[0], label=label)
    axes.set(xscale="log", ylim=(len(gate_half_lives) - 0.5, -0.5), xlabel="steps", title="half-life")
    label_log_axis(axes.xaxis)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)  # in a frame, as its dot would look like a unit


def _mean_over_time(values: ArrayLike) -> np.ndarray:
    """``[T, H] -> [H]``, over the steps that at least one row has."""
    array = np.asarray(values, float)
    return array[~np.isnan(array).all(axis=1)].mean(axis=0)
