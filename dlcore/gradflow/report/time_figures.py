"""Figures of gradient flow over time: how far back derivatives reach, and what comes back from a loss.

Arrays go in, a matplotlib ``Figure`` comes out. Logarithms go in as they are measured, natural.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import (
    PALETTE,
    color_map,
    draw_line,
    finish_axes,
    palette_color,
    shade_beyond_float32,
    to_log10,
)
from dlcore.plots.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LINES = 8
MAX_TICKS = 12
SIGNAL = "log10 |delta_t|"


def plot_decay(
    curves: Mapping[str, ArrayLike],
    title: str = "rms gain |ds_T / ds_{T-lag}| / √n",
    ylabel: str = "log10 of the gain",
    fit: bool = True,
) -> "Figure":
    """A matplotlib figure of how a derivative through time shrinks or grows with the lag: one line for each recurrence.

    With ``fit``, a dashed line is the least-squares fit, and the legend gives its slope, the rate, in nats a step. If
    the line falls, a triangle on it marks the gain half-life, the lag at which half of the gain is left, unless that
    is after the last lag. The background is gray where a norm is beyond the range of
    float32.

    Args:
        curves: by name the natural logarithms of norms ``[T + 1]``, lag 0 first.
        title: the title of the figure.
        ylabel: the label of the vertical axis.
        fit: True to draw the fits and to write rate and gain half-life into the legend.
    """
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for index, (name, logs) in enumerate(curves.items()):
        values, color = to_log10(logs), palette_color(index)
        lags = np.arange(len(values))
        decades, offset = _fit_line(lags, values)
        draw_line(axes, lags, values, color, f"{name}: {_rate_in_words(decades)}" if fit else name)
        if fit:
            _draw_fit(axes, lags, decades, offset, color)
    axes.set(xlabel="lag in steps", ylabel=ylabel, title=title)
    shade_beyond_float32(axes)
    finish_axes(axes)
    return figure


def plot_double_sum(
    log_gradients: ArrayLike, log_by_lag: ArrayLike, covering_lag: int | None = None
) -> "Figure":
    """A matplotlib figure of two panels for the lecture's double sum: left its terms, right their sums by lag.

    A term is what the loss at step t teaches through the use of the parameters in step k.

    Args:
        log_gradients: ``[T + 1, T + 1]``, log |G[t, k]| from `lags.log_gradients`, row t and column k.
        log_by_lag: ``[K + 1]``, log |sum_t G[t, t - lag]| from `lags.log_by_lag`.
        covering_lag: the lag to mark, from `lags.covering_lag` with its share of 0.9; None: no mark.
    """
    terms, sums = to_log10(log_gradients)[1:, 1:], to_log10(log_by_lag)
    steps = np.arange(1, len(terms) + 1)
    figure = new_figure(12, 4.8)
    triangle, marginal = figure.subplots(1, 2, width_ratios=(1.25, 1))
    mesh = color_map(triangle, steps, steps, terms, where=steps <= steps[:, None])
    figure.colorbar(mesh, ax=triangle, label="log10 |G[t, k]|", extend="min")
    triangle.yaxis.set_inverted(True)
    triangle.set(xlabel="k: the step that uses the parameters", ylabel="t: the step of the loss")
    triangle.set(title="terms of dL/dθ = ΣΣ G[t, k]", aspect="equal")
    draw_line(marginal, np.arange(len(sums)), sums, PALETTE[0], "|Σ_t G[t, t - lag]|")
    if covering_lag is not None and covering_lag < len(sums):
        marginal.axvline(covering_lag, color="black", linestyle=":", label=f"90 % within lag {covering_lag}")
    marginal.set(xlabel="lag = t - k, in steps", ylabel="log10 of the norm", title="sums by lag")
    shade_beyond_float32(marginal)
    finish_axes(marginal)
    return figure


def plot_signal(log_signals: Mapping[Any, ArrayLike], row: str = "training step") -> "Figure":
    """A matplotlib figure of the loss's backward signal at each time step, log10 |delta_t|.

    Up to 8 signals are lines; more are the rows of a map.

    Args:
        log_signals: by training step, or another key, the natural logarithms of |delta_t|, ``[T + 1]``.
        row: what the keys are, for the legend or for the map's vertical axis.

    Raises:
        ValueError: there are more than 8 signals, and they differ in length.
    """
    curves = {key: to_log10(logs) for key, logs in log_signals.items()}
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    if len(curves) <= MAX_LINES:
        for index, (key, values) in enumerate(curves.items()):
            draw_line(axes, np.arange(len(values)), values, palette_color(index), f"{row} {key}".strip())
        axes.set(xlabel="time step t", ylabel=SIGNAL)
        shade_beyond_float32(axes)
        finish_axes(axes)
    else:
        _draw_signal_map(axes, curves)
        axes.set(xlabel="time step t", ylabel=row)
    axes.set_title("backward signal |delta_t| = |dL/ds_t|")
    return figure


def _draw_signal_map(axes: "Axes", curves: Mapping[Any, np.ndarray]) -> None:
    values, keys = np.stack(list(curves.values())), list(curves)
    rows = np.arange(len(values))
    mesh = color_map(axes, np.arange(values.shape[1]), rows, values)
    axes.figure.colorbar(mesh, ax=axes, label=SIGNAL, extend="min")
    some = rows[:: -(-len(rows) // MAX_TICKS)]
    axes.set_yticks(some, [str(keys[index]) for index in some])


def _draw_fit(axes: "Axes", lags: np.ndarray, decades: float, offset: float, color: str) -> None:
    axes.plot(lags, decades * lags + offset, color=color, linewidth=0.9, linestyle="--", alpha=0.7)
    half_life = -np.log10(2) / decades if decades < 0 else np.inf
    if half_life <= lags[-1]:
        axes.plot(half_life, decades * half_life + offset, "v", color=color, markersize=7)


def _fit_line(lags: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The slope in decades a step, and the value at lag 0; NaN if fewer than two values are finite."""
    finite = np.isfinite(values)
    if finite.sum() < 2:
        return np.nan, np.nan
    slope, offset = np.polyfit(lags[finite], values[finite], 1)
    return float(slope), float(offset)


def _rate_in_words(decades: float) -> str:
    if np.isnan(decades):
        return "no rate"
    rate = f"{decades * np.log(10):+.3g} nats a step"
    return f"{rate}, gain half-life {-np.log10(2) / decades:.3g}" if decades < 0 else f"{rate}, no decay"
