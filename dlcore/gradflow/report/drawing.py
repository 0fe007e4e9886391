"""TODO."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PALETTE = ("#c1440e", "#3b6ea5", "#4c956c", "#8e5ea2", "#b8860b", "#7a8ba3", "#b5446e", "#4a4a4a")


ZERO, LOST = "#9a9a9a", "#e00034"


FLOAT32 = np.log10([np.finfo(np.float32).tiny, np.finfo(np.float32).max])


DECADES = 16  # that a map's colors span at most, below its largest value


LOST_DIRECTION = "-inf: a derivative of exactly 0"  # of a Lyapunov exponent


def to_log10(logs: ArrayLike) -> np.ndarray:
    """Natural logarithms as powers of ten, in float64.

    >>> log10([0.0, -np.inf]).tolist()
    [0.0, -inf]
    """
    return np.asarray(logs, float) / np.log(10)


def draw_line(
    axes: "Axes", x: np.ndarray, values: np.ndarray, color: str, label: str, zero: str = "exactly 0"
) -> None:
    """A line through what is finite; crosses at the bottom where a number is exactly 0, red ones at the top for none.

    Args:
        axes: where to draw. x, values: ``[N]``, values as logarithms. zero: what -inf is.
    """
    few: dict[str, Any] = {"marker": "o", "markersize": 3} if len(x) < 30 else {}
    axes.plot(x, np.where(np.isfinite(values), values, np.nan), color=color, label=label, **few)
    lost = np.isnan(values) | np.isposinf(values)
    _mark(axes, x[np.isneginf(values)], 0.02, color, zero)
    _mark(axes, x[lost], 0.98, LOST, "not finite")


def color_map(
    axes: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    where: ArrayLike = True,
    norm: Any = None,
    cmap: str = "magma",
) -> Any:
    """A cell a number, in gray where it is exactly 0 and in red where it is none; for a color bar.

    Args:
        axes: where to draw. x: ``[W]``, y: ``[H]``, of the cells' middles. values: ``[H, W]``, logarithms.
        where: cells that are there at all, booleans that broadcast to the values.
        norm: of the colors, matplotlib's; None: linear, down to `DECADES` below the largest value.
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
    for lost, color, label in ((zero, ZERO, "exactly 0"), (there & ~finite & ~zero, LOST, "not finite")):
        if lost.any():
            marked = np.where(lost, 1.0, np.nan)
            axes.pcolormesh(x, y, marked, cmap=ListedColormap([color]))
            axes.plot([], [], "s", color=color, label=label)
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


def finish_axes(axes: "Axes") -> None:
    """Grid and legend."""
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _mark(axes: "Axes", x: np.ndarray, height: float, color: str, label: str) -> None:
    if not len(x):
        return
    known = axes.get_legend_handles_labels()[1]
    axes.plot(
        x,
        np.full(len(x), height),
        "x",
        color=color,
        markersize=4,
        transform=axes.get_xaxis_transform(),
        label=None if label in known else label,
    )


def _colors(count: int) -> list[str]:
    return [PALETTE[number % len(PALETTE)] for number in range(count)]


def _shade_beyond_float32(axes: "Axes") -> None:
    """Where the numbers drawn are smaller or larger than float32 holds."""
    low, high = axes.get_ylim()
    label: str | None = "beyond float32"
    for start, end in ((low, FLOAT32[0]), (FLOAT32[1], high)):
        if start < end:
            axes.axhspan(start, end, color="#d9d9d9", alpha=0.5, zorder=0, linewidth=0, label=label)
            label = None
    axes.set_ylim(low, high)
