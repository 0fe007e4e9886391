"""Figures of gradients in training: what clipping does to their norm, and why a step without it goes astray."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import LOST, PALETTE, color_map, draw_line, finish_axes, to_log10
from dlcore.plots.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_clipping(
    steps: ArrayLike, before: ArrayLike, after: ArrayLike, threshold: float, each: str = "steps"
) -> "Figure":
    """The gradient's norm before and after clipping, with a stroke at the bottom for every step that was clipped.

    Red strokes at the top are norms that are not finite, which no clipping mends; crosses norms of exactly 0.

    Args:
        steps: ``[N]``. before, after: ``[N]`` global norms (no logarithms). threshold: of the clipping.
        each: what one of the N is, where it is not a step but, say, a mean over some.
    """
    steps, before, after = (np.asarray(array, float) for array in (steps, before, after))
    sound, positive = np.isfinite(before), before > 0
    clipped, lost, zero = sound & (before > threshold), ~sound, sound & ~positive
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for norms, label, color in ((before, "as computed", "#7a8ba3"), (after, "after clipping", PALETTE[0])):
        axes.plot(steps, np.where(np.isfinite(norms) & (norms > 0), norms, np.nan), color=color, label=label)
    axes.axhline(threshold, color="black", linestyle="--", linewidth=0.9, label=f"threshold {threshold:g}")
    share = f"clipped: {clipped.sum()} of {len(steps)} {each}"
    for where, height, marker, color, label in (
        (clipped, 0.02, "|", PALETTE[1], share),
        (
            lost,
            0.98,
            "|",
            LOST,
            f"not finite: {lost.sum()}, first in step {steps[lost].min(initial=np.inf):g}",
        ),
        (zero, 0.06, "x", "#7a8ba3", f"exactly 0: {zero.sum()}"),
    ):
        if where.any():
            place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "linestyle": "none"}
            heights = np.full(where.sum(), height)
            axes.plot(steps[where], heights, marker=marker, color=color, markersize=7, label=label, **place)
    axes.set(xlabel="step", ylabel="global norm", yscale="log", title="gradient clipping")
    finish_axes(axes)
    return figure


def plot_lags_in_training(rows: Sequence[tuple[int, str, float]]) -> "Figure":
    """How much a model learns over which distance in time, while it trains: a panel a recurrence, a line a lag.

    Args:
        rows: (step, name, value) of a run with ``--config.train.monitor_every``, see `monitor.monitor`; others are
            passed over.
    """
    found: dict[str, dict[int, list[tuple[int, float]]]] = {}
    for step, name, value in rows:
        if measured := re.fullmatch(r"flow/(.*)/log10_lag_(\d+)", name):
            found.setdefault(measured[1], {}).setdefault(int(measured[2]), []).append((step, value))
    figure = new_figure(max(6.4, 5.2 * len(found)), 4.4)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (chain, lags) in zip(panels, found.items(), strict=True):
        for number, (lag, points) in enumerate(sorted(lags.items())):
            steps, values = np.array(points).T
            draw_line(axes, steps, values, PALETTE[number % len(PALETTE)], f"lag {lag}")
        axes.set(xlabel="training step", ylabel="log10 of the gradient's norm by lag", title=chain)
        finish_axes(axes)
    return figure


def plot_cliff(
    weights: ArrayLike,
    biases: ArrayLike,
    loss: ArrayLike,
    log_gradient_norm: ArrayLike,
    paths: Mapping[str, ArrayLike],
) -> "Figure":
    """A loss with a cliff, the gradient's norm on it, and where descent goes with and without clipping.

    (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, figure 6.) The cross is the last point of a path in the picture
    that a step throws out of it.

    Args:
        weights: ``[W]``. biases: ``[B]``. loss, log_gradient_norm: ``[W, B]`` of `cliff.surface`, the second one the
            natural logarithm.
        paths: by name the points ``[N, 2]`` of a descent, (w, b).
    """
    x, y = np.asarray(weights, float), np.asarray(biases, float)
    with np.errstate(divide="ignore"):
        surfaces = {
            "loss": np.log10(np.asarray(loss, float)).T,
            "gradient's norm": to_log10(log_gradient_norm).T,
        }
    figure = new_figure(12, 4.8)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, surface) in zip(panels, surfaces.items(), strict=True):
        shown = color_map(axes, x, y, surface, cmap="viridis")
        figure.colorbar(shown, ax=axes, label=f"log10 of the {name}", extend="min")
        for (path, points), color in zip(paths.items(), ("#ffffff", "#ff7f50", "#ffd700"), strict=False):
            _path(axes, np.asarray(points, float), path, color, (x, y))
        axes.set(xlabel="w", ylabel="b", title=name)
        axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    panels[0].legend(loc="lower left", fontsize=9, facecolor="#404040", labelcolor="white")
    return figure


def _path(
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
