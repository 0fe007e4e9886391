"""The figures of a run: how it learned, and what a network of images sees and mistakes.

Every function takes arrays and returns a matplotlib ``Figure`` that belongs to no window; `number_grid` draws on
axes that are there already.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"train": "#7a8ba3", "eval": "#c1440e"}


def blank(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure  # late: `import dlcore` loads no plotting package

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def learning_curves(rows: Sequence[tuple[int, str, float]], best: str) -> "Figure":
    """Loss, the deciding metric, and the gradient's norm before and after clipping, over the steps.

    Args:
        rows: (step, name, value) as `train.logging.read_metrics` gives them.
        best: the evaluation metric that decides.
    """
    figure = blank(12, 3.6)
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, ("loss", best), strict=False):
        for part, label in (("train", "training batches"), ("eval", "evaluation set")):
            _curve(axes, rows, f"{part}/{metric}", label, COLOURS[part])
        axes.set(xlabel="step", ylabel=metric, title=metric)
    panels[0].set_yscale("log")
    _curve(panels[2], rows, "train/gradient_norm", "as computed", COLOURS["train"])
    _curve(panels[2], rows, "train/gradient_norm_clipped", "as used (after clipping)", COLOURS["eval"])
    panels[2].set(xlabel="step", ylabel="global norm", title="gradient norm", yscale="log")
    for axes in (panels[0], panels[2]):
        _label_log_scale(axes)
    for axes in panels:
        axes.grid(alpha=0.25, which="both")
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> "Figure":
    """How often each class was taken for each other; colours show the mistakes, numbers all.

    Args:
        labels: ``[N]`` true classes. predictions: ``[N]`` said classes. names: of the classes.
    """
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, predictions), 1)
    mistakes = counts - np.diag(np.diag(counts))
    figure = blank(6.4, 6)
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Oranges", vmax=max(mistakes.max() * 1.5, 1))
    for (row, column), count in np.ndenumerate(counts):
        weight = "bold" if row != column else "normal"
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, weight=weight)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    right = np.diag(counts).sum()
    axes.set(
        xlabel="said", ylabel="true", title=f"{right} of {counts.sum()} right ({right / counts.sum():.2%})"
    )
    return figure


def image_classifier(
    test: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    kernel: np.ndarray,
    maps: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> dict[str, "Figure"]:
    """All that a run shows of a network that classifies images.

    Args:
        test: ``inputs [N, H, W, C]`` and ``labels [N]``. probabilities: ``[N, classes]`` of them.
        kernel: of the first layer. maps: of the first test image, as for `feature_maps`.
        names: of the classes.
    """
    images, labels = test["inputs"], test["labels"]
    return {
        "confusion_matrix": confusion_matrix(labels, probabilities.argmax(-1), names),
        "filters": filters(kernel),
        "feature_maps": feature_maps(images[0], maps),
        "worst_mistakes": worst_mistakes(images, labels, probabilities, names),
    }


def filters(kernel: np.ndarray) -> "Figure":
    """The learned filters of a first layer: blue cells are negative weights, red ones positive.

    Args:
        kernel: ``[F, F, D1, K]``; with several input channels, their mean is shown.
    """
    weights = np.asarray(kernel).mean(axis=2)
    limit = np.abs(weights).max()
    columns = min(weights.shape[-1], 8)
    rows = -(-weights.shape[-1] // columns)
    figure = blank(1.1 * columns + 1.4, 1.2 * rows + 0.8)
    panels = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        axes.set_axis_off()
        if number < weights.shape[-1]:
            shown = axes.imshow(weights[:, :, number], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(str(number + 1), fontsize=8, pad=2)
    figure.colorbar(shown, ax=panels, label="weight", shrink=0.9)
    figure.suptitle(f"filters of the first layer, {weights.shape[0]} x {weights.shape[1]}", fontsize=11)
    return figure


def feature_maps(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> "Figure":
    """One image on its way through a stack: the input, then all maps of each block side by side.

    Args:
        image: ``[H, W, C]``, of which the first channel is shown.
        maps: name -> ``[H', W', K]``, in the order of the network.
    """
    figure = blank(3.2 * (len(maps) + 1), 3.6)
    panels = figure.subplots(1, len(maps) + 1, squeeze=False)[0]
    panels[0].imshow(image[..., 0], cmap="gray")
    panels[0].set_title(f"input, {image.shape[0]} x {image.shape[1]}", fontsize=10)
    for axes, (name, block) in zip(panels[1:], maps.items(), strict=True):
        axes.imshow(_tiles(np.asarray(block)), cmap="magma")
        height, width, count = block.shape
        axes.set_title(f"{name}: {count} maps of {height} x {width}", fontsize=10)
    for axes in panels:
        axes.set_axis_off()
    return figure


def worst_mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], count: int = 12
) -> "Figure":
    """The wrongly classified images that cost the most, with what the network was sure of.

    Args:
        images: ``[N, H, W, C]``. labels: ``[N]``. probabilities: ``[N, classes]``.
        names: of the classes.
        count: how many at most.
    """
    said = probabilities.argmax(-1)
    truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(said != labels)
    shown = wrong[np.argsort(truth[wrong])][:count]
    columns = 6
    rows = max(-(-len(shown) // columns), 1)
    figure = blank(1.7 * columns, 2.1 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, number in zip(panels.flat, shown, strict=False):
        axes.imshow(images[number, ..., 0], cmap="gray_r")
        axes.set_title(
            f"true {names[labels[number]]}: {truth[number]:.1%}\n"
            f"said {names[said[number]]}: {probabilities[number, said[number]]:.1%}",
            fontsize=9,
        )
    figure.suptitle(
        f"the {len(shown)} worst of {len(wrong)} mistakes among {len(labels)} images", fontsize=11
    )
    return figure


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


def _curve(axes: "Axes", rows: Sequence[tuple[int, str, float]], name: str, label: str, colour: str) -> None:
    points = [(step, value) for step, row_name, value in rows if row_name == name]
    if points:
        marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(points) < 30 else {}
        axes.plot(*zip(*points, strict=True), label=label, color=colour, **marker)


def _label_log_scale(axes: "Axes") -> None:
    """Plain numbers (0.7, not 7 x 10^-1) where a logarithmic scale spans less than two decades."""
    from matplotlib.ticker import LogLocator

    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set(major_locator=LogLocator(subs=(1, 1.5, 2, 3, 5, 7)), major_formatter="{x:g}")
        axes.yaxis.set_minor_formatter("")


def _tiles(maps: np.ndarray) -> np.ndarray:
    """``[H, W, K]`` as one picture: K tiles in a near-square grid, parted by NaN, each on its own scale."""
    height, width, count = maps.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    peak = np.maximum(maps.max(axis=(0, 1)), 1e-12)
    for number in range(count):
        top, left = (number // columns) * (height + 1), (number % columns) * (width + 1)
        picture[top : top + height, left : left + width] = maps[:, :, number] / peak[number]
    return picture
