"""Figures of gradients in training: what clipping does to their norm, and where a descent without it goes."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import (
    LOST_COLOR,
    PALETTE,
    color_map,
    draw_line,
    finish_axes,
    palette_color,
    to_array,
    to_arrays,
    to_log10,
)
from dlcore.plots.canvas import label_log_axis, new_figure
from dlcore.plots.checks import as_metrics
from dlcore.utils.checks import check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRAY = "#7a8ba3"
PATH_COLORS = ("#ffffff", "#ff7f50", "#ffd700")


def plot_clipping(
    steps: ArrayLike, before: ArrayLike, after: ArrayLike, threshold: float, each: str = "steps"
) -> "Figure":
    """A matplotlib figure of the gradient's norm before and after clipping, over the training steps.

    A stroke at the bottom marks each entry whose norm before clipping is above the threshold. Red strokes at the top
    mark norms that are not finite, which no clipping mends. Crosses mark norms of exactly 0.

    Args:
        steps: ``[N]``, the training step of each entry.
        before: ``[N]``, global norms (no logarithms) before clipping.
        after: ``[N]``, global norms after clipping.
        threshold: the largest norm that is not clipped.
        each: the legend's word for the N entries, such as "means between log rows".

    Raises:
        ValueError: steps, before and after have different lengths or another number of axes than 1, or the threshold is
            not above 0.
        TypeError: one of them does not hold numbers.
    """
    threshold = check_number("threshold", threshold, "(0, inf)")
    steps = to_array("steps", steps)
    before, after = to_array("before", before), to_array("after", after)
    for name, array in (("before", before), ("after", after)):
        if len(array) != len(steps):
            raise ValueError(f"{name}: got {len(array)} norms for {len(steps)} steps, expected one for each")
    finite = np.isfinite(before)
    clipped, zero = finite & (before > threshold), finite & (before <= 0)
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for norms, label, color in ((before, "as computed", GRAY), (after, "after clipping", PALETTE[0])):
        axes.plot(steps, np.where(np.isfinite(norms) & (norms > 0), norms, np.nan), color=color, label=label)
    axes.axhline(
        threshold,
        color="black",
        linestyle="--",
        linewidth=0.9,
        label=f"threshold {threshold:g}: a larger norm is scaled down to it",
    )
    first = steps[~finite].min(initial=np.inf)
    for marked, height, marker, color, label in (
        (clipped, 0.02, "|", PALETTE[1], f"above the threshold: {clipped.sum()} of {len(steps)} {each}"),
        (~finite, 0.98, "|", LOST_COLOR, f"not finite: {(~finite).sum()}, first in step {first:g}"),
        (zero, 0.06, "x", GRAY, f"exactly 0: {zero.sum()}"),
    ):
        _draw_strokes(axes, steps[marked], height, marker, color, label)
    axes.set(xlabel="training step", ylabel="global norm", yscale="log", title="gradient clipping")
    label_log_axis(axes.yaxis)
    finish_axes(axes)
    return figure


def plot_lags_in_training(rows: Sequence[tuple[int, str, float]]) -> "Figure":
    """A matplotlib figure of how much a model learns over which distance in time, while it trains.

    There is one panel for each recurrence and, in it, one line for each lag.

    Args:
        rows: triples (step, name, value) of a run with ``--config.train.monitor_every``, see `make_monitor`. Rows of
            other metrics are skipped.

    Raises:
        TypeError: rows is not a sequence of triples.
    """
    found: dict[str, dict[int, list[tuple[int, float]]]] = {}
    for step, name, value in as_metrics("rows", rows):
        if matched := re.fullmatch(r"flow/(.*)/log10_lag_(\d+)", name):
            found.setdefault(matched[1], {}).setdefault(int(matched[2]), []).append((step, value))
    figure = new_figure(max(6.4, 5.2 * len(found)), 4.4)
    panels = figure.subplots(1, max(len(found), 1), squeeze=False)[0]
    for axes, (recurrence, lags) in zip(panels, found.items(), strict=False):
        for index, (lag, points) in enumerate(sorted(lags.items())):
            steps, values = np.array(points).T
            draw_line(axes, steps, values, palette_color(index), f"lag {lag}")
        axes.set(xlabel="training step", ylabel="log10 of the gradient's norm by lag", title=recurrence)
        finish_axes(axes)
    return figure


def plot_cliff(
    weights: ArrayLike,
    biases: ArrayLike,
    loss: ArrayLike,
    log_gradient_norm: ArrayLike,
    paths: Mapping[str, ArrayLike],
) -> "Figure":
    """A matplotlib figure of two panels: left a loss with a cliff, right the norm of its gradient.

    Both panels show the paths of descents (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, figure 6). If a step throws
    a path out of the picture, a cross marks the path's last point inside.

    Args:
        weights: ``[W]``, the grid's weights w.
        biases: ``[B]``, the grid's biases b.
        loss: ``[W, B]`` from `cliff.surface`.
        log_gradient_norm: ``[W, B]`` from `cliff.surface`, natural logarithms.
        paths: by name the points ``[N, 2]`` of a descent, (w, b); the first 3 paths are drawn.

    Raises:
        ValueError: the surfaces do not fit the grid, which has at least one point, or a path is not ``[N, 2]``.
        TypeError: an argument does not hold numbers, or paths is no dict.
    """
    x, y = to_array("weights", weights, "[W]"), to_array("biases", biases, "[B]")
    paths = to_arrays("paths", paths, "[N, 2]")
    losses, log_norms = (
        to_array(name, surface, "[W, B]")
        for name, surface in (("loss", loss), ("log_gradient_norm", log_gradient_norm))
    )
    _check_cliff(x, y, {"loss": losses, "log_gradient_norm": log_norms}, paths)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_loss = np.log10(losses)
    surfaces = {"loss": log_loss.T, "gradient's norm": to_log10(log_norms).T}
    figure = new_figure(12, 4.8)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, surface) in zip(panels, surfaces.items(), strict=True):
        mesh = color_map(axes, x, y, surface, cmap="viridis")
        figure.colorbar(mesh, ax=axes, label=f"log10 of the {name}", extend="min")
        for (path, points), color in zip(paths.items(), PATH_COLORS, strict=False):
            _draw_path(axes, points, path, color, (x, y))
        axes.set(xlabel="w", ylabel="b", title=name)
        axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    panels[0].legend(loc="lower left", fontsize=9, facecolor="#404040", labelcolor="white")
    return figure


def _check_cliff(
    x: np.ndarray, y: np.ndarray, surfaces: Mapping[str, np.ndarray], paths: Mapping[str, np.ndarray]
) -> None:
    for name, places in (("weights", x), ("biases", y)):
        if not np.isfinite(places).all():
            raise ValueError(f"{name}: got places that are not finite, expected finite ones")
    for name, surface in surfaces.items():
        if surface.shape != (len(x), len(y)) or not surface.size:
            raise ValueError(f"{name}: got shape {surface.shape} for {len(x)} weights and {len(y)} biases")
    for name, points in paths.items():
        if points.shape[1] != 2:
            raise ValueError(f"paths[{name!r}]: got shape {points.shape}, expected [N, 2]")


def _draw_strokes(
    axes: "Axes", steps: np.ndarray, height: float, marker: str, color: str, label: str
) -> None:
    """Marks at these steps, at a height that is a share of the axes; nothing if there are no steps."""
    if len(steps):
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "linestyle": "none"}
        heights = np.full(len(steps), height)
        axes.plot(steps, heights, marker=marker, color=color, markersize=7, label=label, **place)


def _draw_path(
    axes: "Axes", points: np.ndarray, label: str, color: str, sides: tuple[np.ndarray, np.ndarray]
) -> None:
    inside = np.ones(len(points), bool)
    for coordinate, side in zip(points.T, sides, strict=True):
        inside &= (coordinate >= side.min()) & (coordinate <= side.max())
    leaves = bool(len(points)) and not inside.all()
    axes.plot(*points.T, "o-", color=color, markersize=3, linewidth=1, label=label + " (leaves)" * leaves)
    if leaves and inside.any():
        last = np.flatnonzero(inside)[-1]
        axes.plot(*points[last], "x", color=color, markersize=9, markeredgewidth=2)
