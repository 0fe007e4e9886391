"""TODO."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def number_grid(
    axes: "Axes",
    values: ArrayLike,
    title: str = "",
    *,
    at: tuple[float, float] = (0, 0),
    marked: ArrayLike = False,
    row_labels: Sequence[Any] = (),
    column_labels: Sequence[Any] = (),
    fontsize: float = 9,
) -> None:
    """A matrix as cells with its numbers: blue cells are negative, red ones positive.

    Cells are of size 1 x 1 and y goes down, so that several grids can stand on the same axes.

    Args:
        axes: where to draw.
        values: ``[H, W]``, or ``[W]`` for a single row; the cell of a NaN is empty.
        title: above the grid, from its left edge on.
        at: (x, y) of the upper left corner.
        marked: which cells have a thick border, booleans that broadcast to the values.
        row_labels, column_labels: left of the rows and below the columns; none, or one for each.
        fontsize: of all text.

    Raises:
        ValueError: the values are no matrix, the marks do not fit it, or there are too few or too many labels.
    """
    cells = np.atleast_2d(np.asarray(values, float))
    if cells.ndim != 2 or not cells.size:
        raise ValueError(
            f"values: got shape {np.shape(values)}, expected [H, W] or [W] with at least one cell"
        )
    marks = _marks(marked, cells.shape)
    labels = {"row_labels": row_labels, "column_labels": column_labels}
    for (name, given), count in zip(labels.items(), cells.shape, strict=True):
        if len(given) not in (0, count):
            raise ValueError(f"{name}: got {len(given)}, expected {count}, or none at all")
    (left, top), (height, width) = at, cells.shape
    limit = 2.2 * np.abs(cells[np.isfinite(cells)]).max(initial=1e-12)  # pale, so that numbers are legible
    edges = np.arange(width + 1) + left, np.arange(height + 1) + top
    axes.pcolormesh(
        *edges, cells, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="#b0b0b0", linewidth=0.4
    )
    write = partial(axes.text, fontsize=fontsize)
    write(left, top - 0.2, title, va="bottom")
    for (row, column), value in np.ndenumerate(cells):
        x, y = left + column, top + row
        if not np.isnan(value):
            shown = f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
            write(x + 0.5, y + 0.5, shown, ha="center", va="center")
        if marks[row, column]:
            axes.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], color="black", linewidth=1.8)
    for row, label in enumerate(row_labels):
        write(left - 0.2, top + row + 0.5, str(label), ha="right", va="center")
    for column, label in enumerate(column_labels):
        write(left + column + 0.5, top + height + 0.2, str(label), ha="center", va="top")
    axes.set_aspect("equal")
    axes.yaxis.set_inverted(True)
    axes.set_axis_off()


def _marks(marked: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(marked, bool), shape)
    except ValueError:
        raise ValueError(
            f"marked: got shape {np.shape(marked)}, expected that of the values, {shape}"
        ) from None


def number_row(axes: "Axes", left: float, top: float, grids: Mapping[str, Any], **options: Any) -> None:
    """Grids of numbers with their titles, from left to right.

    Args:
        axes: as for `number_grid`. left, top: where the row begins.
        grids: title -> values. **options: of the first `number_grid`.
    """
    for title, values in grids.items():
        number_grid(axes, values, title, at=(left, top), **options)
        # A title is as wide as its longest line, in cells.
        left += max(np.shape(values)[-1], 0.2 * max(map(len, title.split("\n")))) + 1
        options = {}
