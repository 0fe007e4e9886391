"""What the figures of gradient flow share: colors, lines and maps of logarithms.

Logarithms go in as they are measured, natural, and are drawn as powers of ten. A number that is exactly 0 (``-inf``)
and one that is not finite (NaN, ``inf``) get marks of their own: neither is a small number.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.plots.checks import as_numbers
from dlcore.utils.checks import check_instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#c1440e", "#3b6ea5", "#4c956c", "#8e5ea2", "#b8860b", "#7a8ba3", "#b5446e", "#4a4a4a")
ZERO_COLOR, LOST_COLOR = "#9a9a9a", "#e00034"  # of numbers that are exactly 0, and that are not finite
LOST_DIRECTION = "-inf: a direction that is lost"  # what -inf means for a Lyapunov exponent
DECADES = 16  # The colors of a map span this many decades below its largest value.
FLOAT32 = np.log10([np.finfo(np.float32).tiny, np.finfo(np.float32).max])


def palette_color(index: int) -> str:
    """The color, as ``"#rrggbb"``, of line number ``index``, counted from 0.

    After the last color the palette begins again.
    """
    return PALETTE[index % len(PALETTE)]


def to_array(name: str, values: Any, layout: str = "[N]") -> np.ndarray:
    """Converts numbers to a float64 array with as many axes as the layout has; none for an empty layout.

    Raises:
        ValueError: the array has another number of axes; ``name`` is what the message calls it.
        TypeError: the values are not numbers.
    """
    array = as_numbers(name, values)
    if array.ndim != (layout.count(",") + 1 if layout else 0):
        raise ValueError(f"{name}: got shape {array.shape}, expected {layout}")
    return array


def to_arrays(name: str, values: Mapping[Any, ArrayLike], layout: str = "[N]") -> dict[Any, np.ndarray]:
    """Converts a dict of numbers by name to one of float64 arrays, as `to_array` does.

    Raises:
        ValueError: an array has another number of axes than the layout.
        TypeError: it is no dict, or holds something else than numbers.
    """
    check_instance(name, values, Mapping, f"a dict of arrays {layout} by name")
    return {key: to_array(f"{name}[{key!r}]", array, layout) for key, array in values.items()}


def to_log10(logs: np.ndarray) -> np.ndarray:
    """Converts natural logarithms to logarithms to the base 10, a float array of the same shape.

    >>> to_log10(np.array([0.0, -np.inf])).tolist()
    [0.0, -inf]
    """
    return logs / np.log(10)


def draw_line(
    axes: "Axes", x: np.ndarray, values: np.ndarray, color: str, label: str, zero: str = "exactly 0"
) -> None:
    """Draws a line through the finite values.

    Crosses at the bottom mark values of -inf, red crosses at the top mark NaN and inf.

    Args:
        axes: where to draw.
        x: ``[N]``, the places along the horizontal axis.
        values: ``[N]`` logarithms.
        color: the color of the line and of the crosses at the bottom.
        label: the legend's text for the line.
        zero: the legend's text for -inf.
    """
    markers: dict[str, Any] = {"marker": "o", "markersize": 3} if len(x) < 30 else {}
    axes.plot(x, np.where(np.isfinite(values), values, np.nan), color=color, label=label, **markers)
    _draw_crosses(axes, x[np.isneginf(values)], 0.02, color, zero)
    _draw_crosses(axes, x[np.isnan(values) | np.isposinf(values)], 0.98, LOST_COLOR, "not finite")


def color_map(
    axes: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    where: ArrayLike = True,
    norm: Any = None,
    cmap: str = "magma",
) -> Any:
    """Draws a grid with one colored cell for each number: gray where it is exactly 0, red where it is not finite.

    Args:
        axes: where to draw.
        x: ``[W]``, the middles of the cells.
        y: ``[H]``, the middles of the cells.
        values: ``[H, W]``, logarithms of the numbers, row by row along y.
        where: booleans that broadcast to the values; False where there is no cell.
        norm: matplotlib's norm of the colors; None means linear, down to `DECADES` below the largest value.
        cmap: matplotlib's name of the colors.

    Returns:
        The matplotlib mesh of the finite cells, for a color bar.
    """
    from matplotlib.colors import ListedColormap

    there, finite = np.broadcast_to(where, values.shape), np.isfinite(values)
    x, y = _cell_edges(x), _cell_edges(y)
    cells = np.where(finite & there, values, np.nan)
    mesh = axes.pcolormesh(x, y, cells, cmap=cmap, norm=norm or _linear_norm(values[finite & there]))
    zero = np.isneginf(values) & there
    for lost, color, label in (
        (zero, ZERO_COLOR, "exactly 0"),
        (there & ~finite & ~zero, LOST_COLOR, "not finite"),
    ):
        if lost.any():
            axes.pcolormesh(x, y, np.where(lost, 1.0, np.nan), cmap=ListedColormap([color]))
            axes.plot([], [], "s", color=color, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", fontsize=8)
    return mesh


def shade_beyond_float32(axes: "Axes") -> None:
    """Shades the part of the vertical axis, a log10 axis, whose numbers are too small or too large for float32."""
    low, high = axes.get_ylim()
    label: str | None = "beyond float32"
    for start, end in ((low, FLOAT32[0]), (FLOAT32[1], high)):
        if start < end:
            axes.axhspan(start, end, color="#d9d9d9", alpha=0.5, zorder=0, linewidth=0, label=label)
            label = None
    axes.set_ylim(low, high)


def finish_axes(axes: "Axes") -> None:
    """Adds the grid, and the legend if anything has a label."""
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(framealpha=0.8, edgecolor="none", fontsize=9)


def _draw_crosses(axes: "Axes", x: np.ndarray, height: float, color: str, label: str) -> None:
    """Crosses at a height that is a share of the axes; one legend entry for all of them."""
    if not len(x):
        return
    known = label in axes.get_legend_handles_labels()[1]
    axes.plot(
        x,
        np.full(len(x), height),
        "x",
        color=color,
        markersize=4,
        transform=axes.get_xaxis_transform(),
        label=None if known else label,
    )


def _linear_norm(values: np.ndarray) -> Any:
    """Colors from the smallest to the largest value, over `DECADES` at most."""
    from matplotlib.colors import Normalize

    high, low = values.max(initial=-np.inf), values.min(initial=np.inf)
    return Normalize(max(low, high - DECADES), high) if low < high else Normalize(-1, 1)


def _cell_edges(middles: np.ndarray) -> np.ndarray:
    """The edges ``[N + 1]`` of cells with these middles ``[N]``; a single cell is 1 wide."""
    middles = np.asarray(middles, float)
    if len(middles) == 1:
        return middles[0] + np.array([-0.5, 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])
