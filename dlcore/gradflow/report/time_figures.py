"""Figures of gradient flow over time: how far back derivatives reach, and what comes back from a loss.

Arrays go in, a matplotlib ``Figure`` comes out. Logarithms go in as they are measured, natural.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dlcore.gradflow.measures.rows import FEW_ROWS, few_rows
from dlcore.gradflow.measures.summary import halved_at
from dlcore.gradflow.report.drawing import (
    PALETTE,
    ZERO_COLOR,
    color_map,
    draw_line,
    finish_axes,
    palette_color,
    shade_beyond_float32,
    to_array,
    to_arrays,
    to_log10,
)
from dlcore.plots.canvas import new_figure
from dlcore.utils.checks import check_bool, check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LINES = 8
MAX_TICKS = 12
MAX_LABEL = 90  # characters in a line of a legend
SIGNAL = "log10 |delta_t|"
FEW_LABEL = f"gray: fewer than {FEW_ROWS} rows"


def plot_decay(
    curves: Mapping[str, ArrayLike],
    title: str = "rms gain |ds_T / ds_{T-lag}| / √n",
    ylabel: str = "log10 of the gain",
    fit: bool = True,
    rates: Mapping[str, float] | None = None,
    rows: Mapping[str, ArrayLike] | None = None,
) -> "Figure":
    """A matplotlib figure of how a derivative through time shrinks or grows with the lag: one line for each recurrence.

    With ``fit``, a dashed line has the slope of the rate. The legend gives the rate in nats a step, and the lag at
    which the curve itself is halved. If the line falls, a triangle on it marks the gain half-life, the lag at which
    half of the line is left, unless that is after the last lag. The background is gray where a norm is beyond the range
    of float32.

    Args:
        curves: by name the natural logarithms of norms ``[T + 1]``, lag 0 first.
        title: the title of the figure.
        ylabel: the label of the vertical axis.
        fit: True to draw the fits and to write rate and gain half-life into the legend.
        rates: by name the slope of the dashed line, in nats a step, as of rows that end at different lags; a curve
            without one is fitted by least squares.
        rows: by name the number of rows that each lag has, at least as many numbers as the curve. The curve is gray at
            lags that few rows have, see `few_rows`. If the numbers differ, a panel below shows them.

    Raises:
        ValueError: a curve has another number of axes than 1, or fewer numbers of rows than lags.
        TypeError: curves, rates or rows is no dict of numbers, or fit not a boolean.
    """
    check_bool("fit", fit)
    check_instance("rates", {} if rates is None else rates, Mapping, "a dict of numbers by name")
    counts = to_arrays("rows", {} if rows is None else rows, "[lags]")
    figure = new_figure(8, 4.8)
    axes = _decay_axes(figure, counts)
    for index, (name, logs) in enumerate(to_arrays("curves", curves, "[lags]").items()):
        values, color = to_log10(logs), palette_color(index)
        lags, few = np.arange(len(values)), _few(name, len(values), counts)
        if not fit:
            _draw_curve(axes, values, color, name, few)
            continue
        slope = (
            _fitted_slope(logs)
            if rates is None or name not in rates
            else float(to_array(f"rates[{name!r}]", rates[name], ""))
        )
        words = _rate_in_words(slope, logs)
        gap = " " if len(name) + len(words) < MAX_LABEL else "\n"
        _draw_curve(axes, values, color, f"{name}:{gap}{words}", few)
        _draw_fit(axes, lags, values, slope / np.log(10), color)
    figure.axes[-1].set_xlabel("lag in steps")
    axes.set(ylabel=ylabel, title=title)
    shade_beyond_float32(axes)
    finish_axes(axes)
    return figure


def _decay_axes(figure: "Figure", counts: Mapping[str, np.ndarray]) -> "Axes":
    """The axes of the curves; if the numbers of rows differ, a panel below shows them."""
    if all(len(set(rows)) <= 1 for rows in counts.values()):
        return figure.subplots()
    axes, panel = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    for index, rows in enumerate(counts.values()):
        panel.step(np.arange(len(rows)), rows, where="mid", color=palette_color(index))
    _write_counts(panel, next(iter(counts.values())))
    panel.axhline(FEW_ROWS, color=ZERO_COLOR, linestyle=":", linewidth=1)
    panel.set(ylabel="rows", ylim=(0, 1.5 * max(rows.max() for rows in counts.values())))
    panel.grid(alpha=0.25)
    return axes


def _write_counts(panel: "Axes", rows: np.ndarray) -> None:
    """Writes the number of rows where it changes, unless that is too often to be legible."""
    changes = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(changes) <= MAX_TICKS:
        for lag in changes:
            panel.annotate(f"{rows[lag]:g}", (lag, rows[lag]), (0, 2), textcoords="offset points", fontsize=8)


def _few(name: str, lags: int, counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Booleans ``[lags]``, True where few rows have the lag; False everywhere if their number is not known."""
    if name not in counts:
        return np.zeros(lags, bool)
    if len(counts[name]) < lags:
        raise ValueError(
            f"rows[{name!r}]: got {len(counts[name])} numbers for {lags} lags, expected one for each"
        )
    return few_rows(counts[name])[:lags]


def _draw_curve(axes: "Axes", values: np.ndarray, color: str, label: str, few: np.ndarray) -> None:
    """Draws the curve of one recurrence, and in gray what few rows have; the two meet at the lag before."""
    lags = np.arange(len(values))
    draw_line(axes, lags[~few], values[~few], color, label)
    if few.any():
        gray = few | np.append(few[1:], False)
        known = FEW_LABEL in axes.get_legend_handles_labels()[1]
        draw_line(axes, lags[gray], values[gray], ZERO_COLOR, "_" if known else FEW_LABEL)
        axes.lines[-1].set_zorder(1.9)  # below the last colored point, which has enough rows


def plot_double_sum(
    log_gradients: ArrayLike, log_by_lag: ArrayLike, covering_lag: int | None = None
) -> "Figure":
    """A matplotlib figure of two panels for the lecture's double sum: left its terms, right their sums by lag.

    A term is what the loss at step t teaches through the use of the parameters in step k.

    Args:
        log_gradients: ``[T + 1, T + 1]``, log |G[t, k]| from `lags.log_gradients`, row t and column k.
        log_by_lag: ``[K + 1]``, log |sum_t G[t, t - lag]| from `lags.log_by_lag`.
        covering_lag: the lag to mark, from `lags.covering_lag` with its share of 0.9; None, or a lag that is not drawn:
            no mark.

    Raises:
        ValueError: log_gradients is not square or has no step, or log_by_lag has another number of axes than 1.
        TypeError: one of them does not hold numbers, or covering_lag is not an integer.
    """
    terms = to_log10(to_array("log_gradients", log_gradients, "[T + 1, T + 1]"))[1:, 1:]
    sums = to_log10(to_array("log_by_lag", log_by_lag, "[lags]"))
    if terms.shape[0] != terms.shape[1] or not terms.size:
        raise ValueError(
            f"log_gradients: got shape {np.shape(log_gradients)}, expected [T + 1, T + 1] with T of at least 1"
        )
    covering_lag = -1 if covering_lag is None else check_integer("covering_lag", covering_lag, -1)
    steps = np.arange(1, len(terms) + 1)
    figure = new_figure(12, 4.8)
    triangle, marginal = figure.subplots(1, 2, width_ratios=(1.25, 1))
    mesh = color_map(triangle, steps, steps, terms, where=steps <= steps[:, None])
    figure.colorbar(mesh, ax=triangle, label="log10 |G[t, k]|", extend="min")
    triangle.yaxis.set_inverted(True)
    triangle.set(xlabel="k: the step that uses the parameters", ylabel="t: the step of the loss")
    triangle.set(title="terms of dL/dθ = ΣΣ G[t, k]", aspect="equal")
    draw_line(marginal, np.arange(len(sums)), sums, PALETTE[0], "|Σ_t G[t, t - lag]|")
    if 0 <= covering_lag < len(sums):
        label = f"90 % of the norms' sum at lag {covering_lag}"
        marginal.axvline(covering_lag, color="black", linestyle=":", label=label)
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
        ValueError: there are more than 8 signals, and they differ in length; or a signal has another number of axes
            than 1.
        TypeError: log_signals is no dict of numbers.
    """
    curves = {key: to_log10(logs) for key, logs in to_arrays("log_signals", log_signals, "[T + 1]").items()}
    sizes = {len(values) for values in curves.values()}
    if len(curves) > MAX_LINES and len(sizes) > 1:
        raise ValueError(
            f"log_signals: got lengths {sorted(sizes)}, expected one length for more than {MAX_LINES}"
        )
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


def _draw_fit(axes: "Axes", lags: np.ndarray, values: np.ndarray, decades: float, color: str) -> None:
    """Draws the line of this slope through the middle of the finite values; none if the slope is NaN."""
    finite = np.isfinite(values)
    if not finite.any() or not np.isfinite(decades):
        return
    offset = values[finite].mean() - decades * lags[finite].mean()
    axes.plot(lags, decades * lags + offset, color=color, linewidth=0.9, linestyle="--", alpha=0.7)
    half_life = -np.log10(2) / decades if decades < 0 else np.inf
    if half_life <= lags[-1]:
        axes.plot(half_life, decades * half_life + offset, "v", color=color, markersize=7)


def _fitted_slope(logs: np.ndarray) -> float:
    """The slope of the least-squares line in nats a step; NaN if fewer than two values are finite."""
    finite = np.isfinite(logs)
    return float(np.polyfit(np.flatnonzero(finite), logs[finite], 1)[0]) if finite.sum() > 1 else np.nan


def _rate_in_words(rate: float, logs: np.ndarray) -> str:
    """The rate and its half-life, and the lag at which the norms ``[lags]`` are halved."""
    if np.isnan(rate):
        return "no rate"
    half_life, halved = np.log(2) / -rate if rate < 0 else np.inf, int(halved_at(jnp.asarray(logs)))
    decay = f"gain half-life {half_life:.3g}" if rate < 0 else "no decay"
    beyond = " (beyond the last lag)" if len(logs) <= half_life < np.inf else ""
    crossing = f", halved at lag {halved}" if halved >= 0 else ""
    return f"{rate:+.3g} nats a step, {decay}{beyond}{crossing}"
