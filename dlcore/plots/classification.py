"""Figures of classifiers: which classes are confused, and which images are classified wrongly."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import as_numbers, new_figure
from dlcore.plots.images import draw_image, feature_maps, filters

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> "Figure":
    """A matplotlib figure of one panel: how often each true class (row) was predicted as each class (column).

    Numbers show all counts but 0; colors show the mistakes only.

    Args:
        labels: integers ``[N]``, the true classes 0 .. len(names) - 1.
        predictions: integers ``[N]``, the predicted classes.
        names: the names of the classes.

    Raises:
        ValueError: there is no label, the shapes differ, or a class is outside 0 .. len(names) - 1.
        TypeError: the classes are not integers.
    """
    labels = _classes("labels", labels, len(names))
    predictions = _classes("predictions", predictions, len(names))
    if labels.shape != predictions.shape:
        raise ValueError(
            f"predictions: got shape {predictions.shape}, expected that of the labels, {labels.shape}"
        )
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, predictions), 1)
    mistakes = counts - np.diag(np.diag(counts))
    figure = new_figure(6.4, 6)
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Oranges", vmax=max(mistakes.max() * 1.5, 1))
    for (row, column), count in np.ndenumerate(counts):
        weight = "bold" if row != column else "normal"
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, weight=weight)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    correct, total = np.trace(counts), counts.sum()
    title = f"{correct} of {total} correct ({correct / total:.2%})"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    return figure


def _classes(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """The checked numbers ``[N]`` of classes."""
    classes = np.asarray(values)
    if classes.dtype.kind not in "iu" and classes.size:
        raise TypeError(f"{name}: got {classes.dtype}, expected integers")
    if classes.ndim != 1 or not classes.size:
        raise ValueError(f"{name}: got shape {classes.shape}, expected [N] with N at least 1")
    if classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"{name}: got {classes.min()} to {classes.max()}, expected 0 to {count - 1}, one for each name"
        )
    return classes


def worst_mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], count: int = 12
) -> "Figure":
    """A matplotlib figure of the wrongly classified images whose true class got the smallest probabilities.

    The smallest probability comes first; each image has its own panel.

    Args:
        images: ``[N, H, W, C]``, drawn by `images.draw_image`.
        labels: integers ``[N]``, the true classes.
        probabilities: ``[N, classes]``; the class with the largest one is the predicted class.
        names: the names of the classes.
        count: the largest number of images to show.

    Raises:
        ValueError: there is no label, the shapes do not fit, or a label is outside 0 .. len(names) - 1.
        TypeError: the labels are not integers.
    """
    images, probabilities = np.asarray(images), as_numbers("probabilities", probabilities)
    labels = _classes("labels", labels, len(names))
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(
            f"images: got shape {images.shape}, expected [N, H, W, C] with N = {len(labels)} as labels"
        )
    if probabilities.shape != (len(labels), len(names)):
        raise ValueError(
            f"probabilities: got shape {probabilities.shape}, expected {(len(labels), len(names))}, [N, classes]"
        )
    predicted = probabilities.argmax(-1)
    of_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(of_truth[wrong])][:count]
    columns = 6
    rows = max(-(-len(shown) // columns), 1)
    figure = new_figure(1.7 * columns, 2.1 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, index in zip(panels.flat, shown, strict=False):
        draw_image(axes, images[index], cmap="gray_r")
        axes.set_title(
            f"true {names[labels[index]]}: {of_truth[index]:.1%}\n"
            f"predicted {names[predicted[index]]}: {probabilities[index, predicted[index]]:.1%}",
            fontsize=9,
        )
    title = f"the {len(shown)} worst of {len(wrong)} mistakes among {len(labels)} images"
    figure.suptitle(title, fontsize=11)
    return figure


def image_classifier(
    test: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    kernel: np.ndarray,
    maps: Mapping[str, np.ndarray],
    names: Sequence[str],
) -> dict[str, "Figure"]:
    """All matplotlib figures of a network that classifies images.

    Args:
        test: the test images, ``inputs [N, H, W, C]`` and ``labels [N]``.
        probabilities: ``[N, classes]`` for the test images.
        kernel: the kernel of the first layer, as `images.filters` takes it.
        maps: the feature maps of the first test image, as `images.feature_maps` takes them.
        names: the names of the classes.

    Returns:
        A dict of figures by name: ``confusion_matrix``, ``filters``, ``feature_maps`` and ``worst_mistakes``.
    """
    images, labels = test["inputs"], test["labels"]
    return {
        "confusion_matrix": confusion_matrix(labels, probabilities.argmax(-1), names),
        "filters": filters(kernel),
        "feature_maps": feature_maps(images[0], maps),
        "worst_mistakes": worst_mistakes(images, labels, probabilities, names),
    }
