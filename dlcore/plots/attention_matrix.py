"""Figures of attention: which tokens of one sequence count for those of another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import as_names, as_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attention(weights: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str = "") -> "Figure":
    """A matplotlib figure of one panel, the alignment matrix of a decoder: a row for each token that it wrote.

    The darker a place, the more the token of its column counted for the token of its row.

    Args:
        weights: numbers ``[T, S]`` from 0 to 1, for instance those that `dl.AttentionDecoder` sows.
        rows: the T tokens that were written.
        columns: the S tokens that were read.
        title: stands above the figure.

    Raises:
        ValueError: the weights are not a matrix of one row and one column a token, or are not within 0 to 1.
        TypeError: the weights are not real numbers, or the tokens are one text or no list.
    """
    rows, columns = as_names("rows", rows), as_names("columns", columns)
    known = as_numbers("weights", weights, "[T, S]")
    if known.shape != (len(rows), len(columns)):
        raise ValueError(
            f"weights: got shape {known.shape} for {len(rows)} rows and {len(columns)} columns, expected "
            f"{(len(rows), len(columns))}; cut the padding off"
        )
    if not ((known >= 0) & (known <= 1 + 1e-3)).all():
        raise ValueError(f"weights: got {known.min():g} to {known.max():g}, expected 0 to 1")
    figure = new_figure(1.2 + 0.32 * max(len(columns), 6), 1.2 + 0.28 * max(len(rows), 4))
    axes = figure.subplots()
    axes.imshow(known, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    long = max(len(str(column)) for column in columns) > 2
    axes.set_xticks(
        range(len(columns)), columns, rotation=60 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="read", ylabel="written", title=title)
    return figure
