"""Matrices drawn as grids of cells with their numbers, for worked examples."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dlcore.plots.checks import as_booleans, as_names, as_numbers, as_place, check_axes
from dlcore.utils.checks import check_instance, check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def number_grid(
    axes: "Axes",
    values: ArrayLike,
    title: str = "",
    *,
    at: tuple[float, float] = (0, 0),
    marked: ArrayLike | None = False,
    row_labels: Sequence[Any] = (),
    column_labels: Sequence[Any] = (),
    fontsize: float = 9,
) -> None:
    """Draws a matrix as cells with its numbers: negative cells are blue, positive cells red.

    Cells have the size 1 x 1 and y points down, so that several grids fit on the same axes.

    Args:
        axes: the axes to draw on.
        values: ``[H, W]``, or ``[W]`` for a single row; the cell of a NaN has no color and no number.
        title: the text above the grid, aligned with its left edge.
        at: (x, y) of the upper left corner.
        marked: booleans that broadcast to ``[H, W]``; True gives a cell a thick border, None marks no cell.
        row_labels: the labels to the left of the rows; none, or one for each row.
        column_labels: the labels below the columns; none, or one for each column.
        fontsize: the size of all text.

    Raises:
        ValueError: the values are not a matrix or have no cell, the marks do not broadcast to it, the number of labels
            is neither 0 nor the number of rows or columns, ``at`` is not finite, or the size of text is not above 0.
        TypeError: the values, the marks, ``at`` or the size of text are not real numbers, labels are one text, or
            ``axes`` are no axes.
    """
    check_axes(axes)
    cells = _cells("values", values)
    marks = _broadcast_marks(marked, cells.shape)
    row_labels = _labels("row_labels", row_labels, cells.shape[0])
    column_labels = _labels("column_labels", column_labels, cells.shape[1])
    left, top = as_place("at", at)
    bottom = top + len(cells)
    write = partial(axes.text, fontsize=check_number("fontsize", fontsize, "(0, inf)"))
    _draw_cells(axes, cells, left, top)
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
        write(left + column + 0.5, bottom + 0.2, str(label), ha="center", va="top")


def _cells(name: str, values: ArrayLike) -> np.ndarray:
    """Checked values as a matrix ``[H, W]``; a single number is a single cell."""
    numbers = as_numbers(name, values)
    cells = np.atleast_2d(numbers)
    if cells.ndim != 2 or not cells.size:
        raise ValueError(f"{name}: got shape {numbers.shape}, expected [H, W] or [W] with at least one cell")
    return cells


def _broadcast_marks(marked: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    marks = as_booleans("marked", False if marked is None else marked)
    try:
        return np.broadcast_to(marks, shape)
    except ValueError:
        raise ValueError(
            f"marked: got shape {marks.shape}, expected the shape of the values, {shape}"
        ) from None


def _labels(name: str, labels: Sequence[Any], count: int) -> list[Any]:
    labels = as_names(name, labels)
    if len(labels) not in (0, count):
        raise ValueError(f"{name}: got {len(labels)} labels, expected {count} or none")
    return labels


def _draw_cells(axes: "Axes", cells: np.ndarray, left: float, top: float) -> None:
    """Draws the colors of the cells, pale enough for legible numbers."""
    limit = 2.2 * np.abs(cells[np.isfinite(cells)]).max(initial=1e-12)
    x, y = np.arange(cells.shape[1] + 1) + left, np.arange(cells.shape[0] + 1) + top
    axes.pcolormesh(x, y, cells, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="#b0b0b0", linewidth=0.4)
    axes.set_aspect("equal")
    axes.yaxis.set_inverted(True)
    axes.set_axis_off()


def number_row(axes: "Axes", left: float, top: float, grids: Mapping[str, Any], **options: Any) -> None:
    """Draws grids of numbers side by side, from left to right.

    Args:
        axes: the axes to draw on.
        left: x of the first grid's left edge.
        top: y of all grids' upper edges.
        grids: values by title, as `number_grid` takes them.
        **options: other arguments of `number_grid`, for the first grid only.

    Raises:
        ValueError: as in `number_grid`.
        TypeError: the grids are not a dict; or as in `number_grid`.
    """
    left, top = check_number("left", left), check_number("top", top)
    check_instance("grids", grids, Mapping, "a dict of values by title")
    grids = {title: _cells(f"grids[{title!r}]", values) for title, values in grids.items()}
    for title, cells in grids.items():
        number_grid(axes, cells, title, at=(left, top), **options)
        # A title is as wide as its longest line; 0.2 is the width of a letter in cells.
        left += max(cells.shape[1], 0.2 * max(map(len, str(title).split("\n")))) + 1
        options = {}
