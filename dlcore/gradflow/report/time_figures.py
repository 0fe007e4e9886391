"""Figures of gradient flow in time: how far back a derivative reaches, and what comes back of a loss.

Arrays in, a matplotlib ``Figure`` out. Logarithms go in as they are measured, natural, and are drawn as powers of ten.
What is exactly 0 (``-inf``) and what is not finite (NaN, ``inf``) has marks of its own: neither is a small number.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.report.drawing import (
    PALETTE,
    _colors,
    _shade_beyond_float32,
    color_map,
    draw_line,
    finish_axes,
    to_log10,
)
from dlcore.plots.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 8


def plot_decay(curves: Mapping[str, ArrayLike], title: str = "|ds_T / ds_{T-lag}|") -> "Figure":
    """How derivatives through time shrink or grow with the lag: a line a cell, with its fitted rate and half-life.

    The dashed line is the least-squares fit, the triangle on it the lag at which half is left. The ground is gray
    where a norm is no float32 any more.

    Args:
        curves: by name the natural logarithms of norms ``[T + 1]``, lag 0 first.
        title: what is measured.
    """
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for (name, logs), color in zip(curves.items(), _colors(len(curves)), strict=True):
        values = to_log10(logs)
        lags = np.arange(len(values))
        rate, offset = _fit(lags, values)
        draw_line(axes, lags, values, color, f"{name}: {_rate_in_words(rate)}")
        axes.plot(lags, rate * lags + offset, color=color, linewidth=0.9, linestyle="--", alpha=0.7)
        half_life = -np.log10(2) / rate if rate < 0 else np.inf
        if half_life <= lags[-1]:
            axes.plot(half_life, rate * half_life + offset, "v", color=color, markersize=7)
    axes.set(xlabel="lag in steps", ylabel="log10 of the norm", title=title)
    _shade_beyond_float32(axes)
    finish_axes(axes)
    return figure


def plot_double_sum(
    log_gradients: ArrayLike, log_by_lag: ArrayLike, covering_lag: int | None = None
) -> "Figure":
    """The lecture's double sum, term by term: which step's loss teaches through which step's use of the parameters.

    Args:
        log_gradients: ``[T + 1, T + 1]``, log |G[t, k]| of `lags.log_gradients`: t down, k across.
        log_by_lag: ``[K + 1]``, log |sum_t G[t, t - lag]| of `lags.log_by_lag`.
        covering_lag: of `lags.covering_lag` with its share of 0.9, which is marked.
    """
    terms, sums = to_log10(log_gradients)[1:, 1:], to_log10(log_by_lag)
    steps = np.arange(1, len(terms) + 1)
    figure = new_figure(12, 4.8)
    triangle, marginal = figure.subplots(1, 2, width_ratios=(1.25, 1))
    shown = color_map(triangle, steps, steps, terms, where=steps <= steps[:, None])
    figure.colorbar(shown, ax=triangle, label="log10 |G[t, k]|", extend="min")
    triangle.yaxis.set_inverted(True)
    triangle.set(xlabel="k: the step that uses the parameters", ylabel="t: the step of the loss")
    triangle.set(title="terms of dL/dθ = ΣΣ G[t, k]", aspect="equal")
    draw_line(marginal, np.arange(len(sums)), sums, PALETTE[0], "|Σ_t G[t, t - lag]|")
    if covering_lag is not None and covering_lag < len(sums):
        marginal.axvline(covering_lag, color="black", linestyle=":", label=f"90 % within lag {covering_lag}")
    marginal.set(xlabel="lag = t - k", ylabel="log10 of the norm", title="by lag")
    _shade_beyond_float32(marginal)
    finish_axes(marginal)
    return figure


def plot_signal(log_signals: Mapping[Any, ArrayLike], row: str = "training step") -> "Figure":
    """What of the loss comes back to each step, log10 |delta_t|: few as lines, many as a map, one row above another.

    Args:
        log_signals: by training step, or whatever tells them apart, the natural logarithms ``[T + 1]``.
        row: what the keys are.

    Raises:
        ValueError: more than 8 that are not of the same length.
    """
    curves = {key: to_log10(logs) for key, logs in log_signals.items()}
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    title = "the signal that comes back through time, |dL/ds_t|"
    if len(curves) <= MOST_LINES:
        for (key, values), color in zip(curves.items(), _colors(len(curves)), strict=True):
            draw_line(axes, np.arange(len(values)), values, color, f"{row} {key}")
        axes.set(xlabel="t", ylabel="log10 |delta_t|", title=title)
        _shade_beyond_float32(axes)
        finish_axes(axes)
        return figure
    values = np.stack(list(curves.values()))
    rows = np.arange(len(values))
    shown = color_map(axes, np.arange(values.shape[1]), rows, values)
    figure.colorbar(shown, ax=axes, label="log10 |delta_t|", extend="min")
    some = rows[:: -(-len(rows) // 12)]
    axes.set_yticks(some, [str(list(curves)[number]) for number in some])
    axes.set(xlabel="t", ylabel=row, title=title)
    return figure


def _fit(lags: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Decades a step and where the line begins; NaN where fewer than two values are finite."""
    finite = np.isfinite(values)
    if finite.sum() < 2:
        return np.nan, np.nan
    rate, offset = np.polyfit(lags[finite], values[finite], 1)
    return float(rate), float(offset)


def _rate_in_words(rate: float) -> str:
    if np.isnan(rate):
        return "no rate"
    nats = f"{rate * np.log(10):+.3g} nats a step"
    return f"{nats}, half-life {-np.log10(2) / rate:.3g}" if rate < 0 else f"{nats}, no decay"
