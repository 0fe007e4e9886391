"""Figures of gradient flow in time: how far back a derivative reaches, and what comes back of a loss.

Arrays in, a matplotlib ``Figure`` out. Logarithms go in as they are measured, natural, and are drawn as powers of ten.
What is exactly 0 (``-inf``) and what is not finite (NaN, ``inf``) has marks of its own: neither is a small number.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.figures import blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#c1440e", "#3b6ea5", "#4c956c", "#8e5ea2", "#b8860b", "#7a8ba3", "#b5446e", "#4a4a4a")
ZERO, LOST = "#9a9a9a", "#e00034"
FLOAT32 = np.log10([np.finfo(np.float32).tiny, np.finfo(np.float32).max])
DECADES = 16  # that a map's colours span at most, below its largest value
MOST_LINES = 8
LOST_DIRECTION = "-inf: a derivative of exactly 0"  # of a Lyapunov exponent


def decay(curves: Mapping[str, ArrayLike], title: str = "|ds_T / ds_{T-lag}|") -> "Figure":
    """How derivatives through time shrink or grow with the lag: a line a cell, with its fitted rate and half-life.

    The dashed line is the least-squares fit, the triangle on it the lag at which half is left. The ground is grey
    where a norm is no float32 any more.

    Args:
        curves: by name the natural logarithms of norms ``[T + 1]``, lag 0 first.
        title: what is measured.
    """
    figure = blank(8, 4.8)
    axes = figure.subplots()
    for (name, logs), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        values = log10(logs)
        lags = np.arange(len(values))
        rate, offset = _fit(lags, values)
        line(axes, lags, values, colour, f"{name}: {_rate_in_words(rate)}")
        axes.plot(lags, rate * lags + offset, color=colour, linewidth=0.9, linestyle="--", alpha=0.7)
        half_life = -np.log10(2) / rate if rate < 0 else np.inf
        if half_life <= lags[-1]:
            axes.plot(half_life, rate * half_life + offset, "v", color=colour, markersize=7)
    axes.set(xlabel="lag in steps", ylabel="log10 of the norm", title=title)
    _shade_beyond_float32(axes)
    finish(axes)
    return figure


def double_sum(log_gradients: ArrayLike, log_by_lag: ArrayLike, covering_lag: int | None = None) -> "Figure":
    """The lecture's double sum, term by term: which step's loss teaches through which step's use of the parameters.

    Args:
        log_gradients: ``[T + 1, T + 1]``, log |G[t, k]| of `lags.log_gradients`: t down, k across.
        log_by_lag: ``[K + 1]``, log |sum_t G[t, t - lag]| of `lags.log_by_lag`.
        covering_lag: of `lags.covering_lag` with its share of 0.9, which is marked.
    """
    terms, sums = log10(log_gradients)[1:, 1:], log10(log_by_lag)
    steps = np.arange(1, len(terms) + 1)
    figure = blank(12, 4.8)
    triangle, marginal = figure.subplots(1, 2, width_ratios=(1.25, 1))
    shown = colour_map(triangle, steps, steps, terms, where=steps <= steps[:, None])
    figure.colorbar(shown, ax=triangle, label="log10 |G[t, k]|", extend="min")
    triangle.yaxis.set_inverted(True)
    triangle.set(xlabel="k: the step that uses the parameters", ylabel="t: the step of the loss")
    triangle.set(title="terms of dL/dθ = ΣΣ G[t, k]", aspect="equal")
    line(marginal, np.arange(len(sums)), sums, PALETTE[0], "|Σ_t G[t, t - lag]|")
    if covering_lag is not None and covering_lag < len(sums):
        marginal.axvline(covering_lag, color="black", linestyle=":", label=f"90 % within lag {covering_lag}")
    marginal.set(xlabel="lag = t - k", ylabel="log10 of the norm", title="by lag")
    _shade_beyond_float32(marginal)
    finish(marginal)
    return figure


def signal(log_signals: Mapping[Any, ArrayLike], row: str = "training step") -> "Figure":
    """What of the loss comes back to each step, log10 |delta_t|: few as lines, many as a map, one row above another.

    Args:
        log_signals: by training step, or whatever tells them apart, the natural logarithms ``[T + 1]``.
        row: what the keys are.

    Raises:
        ValueError: more than 8 that are not of the same length.
    """
    curves = {key: log10(logs) for key, logs in log_signals.items()}
    figure = blank(8, 4.8)
    axes = figure.subplots()
    title = "the signal that comes back through time, |dL/ds_t|"
    if len(curves) <= MOST_LINES:
        for (key, values), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            line(axes, np.arange(len(values)), values, colour, f"{row} {key}")
        axes.set(xlabel="t", ylabel="log10 |delta_t|", title=title)
        _shade_beyond_float32(axes)
        finish(axes)
        return figure
    values = np.stack(list(curves.values()))
    rows = np.arange(len(values))
    shown = colour_map(axes, np.arange(values.shape[1]), rows, values)
    figure.colorbar(shown, ax=axes, label="log10 |delta_t|", extend="min")
    some = rows[:: -(-len(rows) // 12)]
    axes.set_yticks(some, [str(list(curves)[number]) for number in some])
    axes.set(xlabel="t", ylabel=row, title=title)
    return figure


def log10(logs: ArrayLike) -> np.ndarray:
    """Natural logarithms as powers of ten, in float64.

    >>> log10([0.0, -np.inf]).tolist()
    [0.0, -inf]
    """
    return np.asarray(logs, float) / np.log(10)


def line(
    axes: "Axes", x: np.ndarray, values: np.ndarray, colour: str, label: str, zero: str = "exactly 0"
) -> None:
    """A line through what is finite; crosses at the bottom where a number is exactly 0, red ones at the top for none.

    Args:
        axes: where to draw. x, values: ``[N]``, values as logarithms. zero: what -inf is.
    """
    few: dict[str, Any] = {"marker": "o", "markersize": 3} if len(x) < 30 else {}
    axes.plot(x, np.where(np.isfinite(values), values, np.nan), color=colour, label=label, **few)
    lost = np.isnan(values) | np.isposinf(values)
    _mark(axes, x[np.isneginf(values)], 0.02, colour, zero)
    _mark(axes, x[lost], 0.98, LOST, "not finite")


def colour_map(
    axes: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    where: ArrayLike = True,
    norm: Any = None,
    cmap: str = "magma",
) -> Any:
    """A cell a number, in grey where it is exactly 0 and in red where it is none; for a colour bar.

    Args:
        axes: where to draw. x: ``[W]``, y: ``[H]``, of the cells' middles. values: ``[H, W]``, logarithms.
        where: cells that are there at all, booleans that broadcast to the values.
        norm: of the colours, matplotlib's; None: linear, down to `DECADES` below the largest value.
    """
    from matplotlib.colors import ListedColormap, Normalize

    there, finite = np.broadcast_to(where, values.shape), np.isfinite(values)
    if norm is None:
        high = values[finite & there].max(initial=-np.inf)
        low = values[finite & there].min(initial=np.inf)
        norm = Normalize(max(low, high - DECADES), high) if low < high else Normalize(-1, 1)
    cells = np.where(finite & there, values, np.nan)
    x, y = _edges(x), _edges(y)
    shown = axes.pcolormesh(x, y, cells, cmap=cmap, norm=norm)
    zero = np.isneginf(values) & there
    for lost, colour, label in ((zero, ZERO, "exactly 0"), (there & ~finite & ~zero, LOST, "not finite")):
        if lost.any():
            marked = np.where(lost, 1.0, np.nan)
            axes.pcolormesh(x, y, marked, cmap=ListedColormap([colour]))
            axes.plot([], [], "s", color=colour, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=8)
    return shown


def _edges(middles: np.ndarray) -> np.ndarray:
    """Of cells, ``[N] -> [N + 1]``; a single one is 1 wide."""
    middles = np.asarray(middles, float)
    if len(middles) == 1:
        return middles[0] + np.array([-0.5, 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def finish(axes: "Axes") -> None:
    """Grid and legend."""
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _mark(axes: "Axes", x: np.ndarray, height: float, colour: str, label: str) -> None:
    if not len(x):
        return
    known = axes.get_legend_handles_labels()[1]
    axes.plot(
        x,
        np.full(len(x), height),
        "x",
        color=colour,
        markersize=4,
        transform=axes.get_xaxis_transform(),
        label=None if label in known else label,
    )


def _colours(count: int) -> list[str]:
    return [PALETTE[number % len(PALETTE)] for number in range(count)]


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


def _shade_beyond_float32(axes: "Axes") -> None:
    """Where the numbers drawn are smaller or larger than float32 holds."""
    low, high = axes.get_ylim()
    label: str | None = "beyond float32"
    for start, end in ((low, FLOAT32[0]), (FLOAT32[1], high)):
        if start < end:
            axes.axhspan(start, end, color="#d9d9d9", alpha=0.5, zorder=0, linewidth=0, label=label)
            label = None
    axes.set_ylim(low, high)
