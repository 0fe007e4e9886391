"""Figures of many configurations: how far gradients reach by scale and lag, and whether that decides a task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import (
    LOST_DIRECTION,
    color_map,
    draw_line,
    finish_axes,
    palette_color,
    to_array,
    to_log10,
)
from dlcore.plots.canvas import label_log_axis, new_figure
from dlcore.utils.checks import check_instance, check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4


class Grid(NamedTuple):
    """What was measured of one kind of network at S scales of its recurrent kernel.

    Attributes:
        scales: ``[S]``, increasing.
        lags: ``[L]``, increasing.
        log_gains: ``[S, L]``, natural logarithms of the gain |ds_T/ds_{T-lag}|_F / sqrt(n).
        exponents: ``[S, k]``, Lyapunov exponents in nats a step, the largest first.
    """

    scales: ArrayLike
    lags: ArrayLike
    log_gains: ArrayLike
    exponents: ArrayLike


def plot_gain_map(grids: Mapping[str, Grid], scale: str = "recurrent scale") -> "Figure":
    """A matplotlib figure of the gain by scale and lag, a map in one panel for each cell.

    Gradients vanish where the map is blue, stay where it is white and explode where it is red. Dashed lines are where
    the largest Lyapunov exponent changes its sign. All panels share their colors, which are logarithmic beyond one
    decade.

    Args:
        grids: a `Grid` by the cell's name.
        scale: the label of the vertical axis, whose values are the scales.

    Raises:
        ValueError: the arrays of a grid disagree about S or L, or have none.
        TypeError: grids is no dict of `Grid`, or one holds something else than numbers.
    """
    from matplotlib.colors import SymLogNorm

    grids = _checked_grids(grids)
    values = {name: to_log10(grid.log_gains) for name, grid in grids.items()}
    limit = max((np.abs(array[np.isfinite(array)]).max(initial=1) for array in values.values()), default=1)
    norm = SymLogNorm(1, vmin=-limit, vmax=limit)
    columns = min(max(len(grids), 1), COLUMNS)
    rows = -(-max(len(grids), 1) // columns)
    figure = new_figure(3.4 * columns + 1.4, 3.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(grids) :]:
        axes.set_axis_off()
    for axes, (name, grid) in zip(panels.flat, grids.items(), strict=False):
        mesh = _draw_gains(axes, grid, values[name], norm)
        axes.set(xlabel="lag in steps", ylabel=scale if axes in panels[:, 0] else "", title=name)
    if grids:
        figure.colorbar(mesh, ax=panels, label="log10 of the rms gain |ds_T / ds_{T-lag}| / √n", format="%g")
    return figure


def plot_exponents(grids: Mapping[str, Grid], scale: str = "recurrent scale") -> "Figure":
    """A matplotlib figure of Lyapunov exponents by scale.

    Each cell has one color, and its largest exponent is a thick line. Gradients explode in the directions whose
    exponent is above 0.

    Args:
        grids: a `Grid` by the cell's name.
        scale: the label of the horizontal axis, whose values are the scales.

    Raises:
        ValueError: as in `plot_gain_map`.
        TypeError: as in `plot_gain_map`.
    """
    grids = _checked_grids(grids)
    figure = new_figure(7, 4.8)
    axes = figure.subplots()
    for index, (name, grid) in enumerate(grids.items()):
        scales, values = grid.scales, grid.exponents
        color = palette_color(index)
        others = np.where(np.isfinite(values), values, np.nan)[:, 1:]
        axes.plot(scales, others, color=color, linewidth=0.5, alpha=0.6)
        draw_line(axes, scales, values[:, 0], color, name, LOST_DIRECTION)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel=scale, ylabel="exponent, nats a step", title="Lyapunov exponents")
    finish_axes(axes)
    return figure


def plot_success(
    measured: Mapping[str, tuple[ArrayLike, ArrayLike]],
    chance: float | None = None,
    name: str = "accuracy",
    reach: str = "half-life",
) -> "Figure":
    """A matplotlib figure of what m trainings reached against how far gradients reached before training.

    The reach is divided by T, the length of the task. Each training is a point. A point with an infinite reach is at
    the right edge; one whose reach is NaN is not drawn, but the legend counts it.

    Args:
        measured: by the cell's name a pair of arrays ``[m]``: the reach at initialization divided by T, and what
            training reached.
        chance: what guessing reaches, drawn as a horizontal line; None: no line.
        name: the label of what training reached.
        reach: how the reach of gradients was measured, such as "half-life" or "gain half-life".

    Raises:
        ValueError: the arrays of a pair have different lengths or another number of axes than 1.
        TypeError: measured is no dict of pairs of numbers, or chance not a number.
    """
    check_instance("measured", measured, Mapping, "a dict of pairs of arrays by the cell's name")
    chance = None if chance is None else check_number("chance", chance)
    figure = new_figure(7, 4.8)
    axes = figure.subplots()
    for index, (cell, pair) in enumerate(measured.items()):
        ratios, reached = to_array(f"measured[{cell!r}]", pair, "[2, m]")
        _draw_success(axes, cell, ratios, reached, palette_color(index))
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    if chance is not None:
        axes.axhline(chance, color="#7a8ba3", linestyle="--", label=f"chance: {chance:g}")
    axes.set(xlabel=f"{reach} at initialization / T", ylabel=name, xscale="log")
    label_log_axis(axes.xaxis)
    axes.set_title("Does the gradient reach as far as the task?")
    finish_axes(axes)
    return figure


def _checked_grids(grids: Mapping[str, Grid]) -> dict[str, Any]:
    """The grids with NumPy arrays."""
    check_instance("grids", grids, Mapping, "a dict of Grid by the cell's name")
    layouts = {"scales": "[S]", "lags": "[L]", "log_gains": "[S, L]", "exponents": "[S, k]"}
    checked = {}
    for name, grid in grids.items():
        check_instance(f"grids[{name!r}]", grid, Grid, "a Grid(scales, lags, log_gains, exponents)")
        arrays = {field: to_array(field, getattr(grid, field), layout) for field, layout in layouts.items()}
        scales, lags = len(arrays["scales"]), len(arrays["lags"])
        shapes = arrays["log_gains"].shape, arrays["exponents"].shape
        if (
            not scales
            or not lags
            or shapes[0] != (scales, lags)
            or shapes[1][0] != scales
            or not shapes[1][1]
        ):
            raise ValueError(
                f"grids[{name!r}]: got {scales} scales, {lags} lags, log_gains {shapes[0]} and exponents {shapes[1]}, "
                "expected at least one scale, lag and exponent, [S, L] and [S, k]"
            )
        checked[name] = Grid(**arrays)
    return checked


def _draw_success(axes: "Axes", cell: str, ratios: np.ndarray, reached: np.ndarray, color: str) -> None:
    finite, endless, unknown = np.isfinite(ratios), np.isposinf(ratios), np.isnan(ratios)
    label = f"{cell}, {endless.sum()} without decay at the right" if endless.any() else cell
    if unknown.any():
        label += f", {unknown.sum()} not known"
    axes.plot(ratios[finite], reached[finite], "o", color=color, alpha=0.8, label=label)
    edge = np.full(endless.sum(), 0.99)
    axes.plot(edge, reached[endless], ">", color=color, transform=axes.get_yaxis_transform())


def _draw_gains(axes: "Axes", grid: Any, values: np.ndarray, norm: Any) -> Any:
    """One panel of `plot_gain_map`; returns its mesh."""
    scales = grid.scales
    mesh = color_map(axes, grid.lags, scales, values, norm=norm, cmap="RdBu_r")
    if _is_geometric(scales):
        axes.set_yscale("log", base=2)
    elif len(scales) > 1 and scales[0] >= 0:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0))
    _mark_sign_changes(axes, scales, grid.exponents[:, 0])
    return mesh


def _is_geometric(scales: np.ndarray) -> bool:
    if len(scales) < 3 or scales.min() <= 0:
        return False
    ratios = scales[1:] / scales[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=0.05))


def _mark_sign_changes(axes: "Axes", scales: np.ndarray, exponents: np.ndarray) -> None:
    """Draws dashed lines where the exponents pass 0, interpolated between neighboring scales."""
    below, above = np.nan_to_num(exponents[:-1]), np.nan_to_num(exponents[1:])
    label: str | None = "largest exponent 0"
    for index in np.flatnonzero(np.sign(below) * np.sign(above) < 0):
        share = below[index] / (below[index] - above[index])
        place = scales[index] + share * (scales[index + 1] - scales[index])
        axes.axhline(place, color="black", linestyle="--", linewidth=1, label=label)
        label = None
    if label is None:
        axes.legend(loc="lower left", fontsize=8)
