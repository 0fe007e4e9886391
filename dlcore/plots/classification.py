"""Figures of classifiers: which classes are confused, and which images are classified wrongly."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import as_array, as_integers, as_names, as_numbers
from dlcore.plots.images import draw_image, feature_maps, filters
from dlcore.utils.checks import check_instance, check_integer

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
        ValueError: there is no label or no name, the shapes differ, or a class is outside 0 .. len(names) - 1.
        TypeError: the classes are not integers, or the names are one text or no list.
    """
    names = _class_names(names)
    labels = _classes("labels", labels, len(names))
    predictions = _classes("predictions", predictions, len(names))
    if labels.shape != predictions.shape:
        raise ValueError(
            f"predictions: got shape {predictions.shape} for labels of shape {labels.shape}, expected one for each"
        )
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, predictions), 1)
    return _draw_counts(counts, names)


def confusion_counts(counts: np.ndarray, names: Sequence[str]) -> "Figure":
    """The figure of `confusion_matrix` from counts, such as the value of ``dl.metrics.ConfusionMatrix``.

    Args:
        counts: numbers ``[C, C]`` of at least 0, an array or nested lists; rows are true, columns predicted classes.
        names: the names of the C classes.

    Raises:
        ValueError: the counts are not a matrix of one row and one column a name, one is below 0 or not finite, or there
            is none above 0.
        TypeError: the counts are not real numbers, or the names are one text or no list.
    """
    names = _class_names(names)
    known = as_numbers("counts", counts, "[C, C]")
    if known.shape != (len(names), len(names)):
        raise ValueError(
            f"counts: got shape {known.shape} for {len(names)} names, expected {(len(names), len(names))}"
        )
    if not (np.isfinite(known) & (known >= 0)).all() or not known.any():
        raise ValueError("counts: got numbers below 0, not finite or all 0, expected counts with one above 0")
    return _draw_counts(known, names)


def _draw_counts(counts: np.ndarray, names: list[Any]) -> "Figure":
    mistakes = counts - np.diag(np.diag(counts))
    figure = new_figure(6.4, 6)
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Oranges", vmax=max(mistakes.max() * 1.5, 1))
    for (row, column), count in np.ndenumerate(counts):
        weight = "bold" if row != column else "normal"
        if count:
            axes.text(column, row, _short(count), ha="center", va="center", fontsize=9, weight=weight)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    correct, total = np.trace(counts), counts.sum()
    title = f"{_short(correct)} of {_short(total)} correct ({correct / total:.2%})"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    return figure


def _short(count: float) -> str:
    """A count as text: an integer with all its digits, a sum of weights with four."""
    return f"{count:.0f}" if count == int(count) else f"{count:.4g}"


def _class_names(names: Sequence[str]) -> list[Any]:
    known = as_names("names", names)
    if not known:
        raise ValueError("names: got none, expected one for each class")
    return known


def _classes(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """The checked numbers ``[N]`` of classes."""
    classes = as_integers(name, values, "[N]")
    if classes.min() < 0 or classes.max() >= count:
        raise ValueError(
            f"{name}: got {classes.min()} to {classes.max()} for {count} names, expected 0 to {count - 1}"
        )
    return classes


def _labeled(name: str, images: Any, labels: Any, names: Any) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """The checked images, labels and names; ``name`` is what error messages call the images."""
    names = _class_names(names)
    images, labels = as_array(name, images, "[N, H, W, C]"), _classes("labels", labels, len(names))
    if len(images) != len(labels):
        raise ValueError(f"{name}: got {len(images)} for {len(labels)} labels, expected one for each")
    return images, labels, names


def _probabilities(probabilities: np.ndarray, labels: np.ndarray, names: list[Any]) -> np.ndarray:
    """The checked probabilities ``[N, classes]``."""
    probabilities, expected = as_numbers("probabilities", probabilities), (len(labels), len(names))
    if probabilities.shape != expected:
        raise ValueError(
            f"probabilities: got shape {probabilities.shape} for {len(labels)} labels and {len(names)} names, "
            f"expected {expected}"
        )
    return probabilities


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
        ValueError: there is no label or no name, the shapes do not fit, a label is outside 0 .. len(names) - 1, or
            count is below 1.
        TypeError: the labels or count are not integers, images or probabilities do not hold real numbers, or the names
            are one text or no list.
    """
    images, labels, names = _labeled("images", images, labels, names)
    probabilities, count = _probabilities(probabilities, labels, names), check_integer("count", count)
    predicted = probabilities.argmax(-1)
    of_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(of_truth[wrong])][:count]
    columns = min(max(len(shown), 3), 6)  # three are as wide as the title
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

    Raises:
        ValueError, TypeError: as in `labeled_images`, `worst_mistakes`, `images.filters` and `images.feature_maps`.
    """
    images, labels, names = labeled_images(test, names)
    probabilities = _probabilities(probabilities, labels, names)
    return {
        "confusion_matrix": confusion_matrix(labels, probabilities.argmax(-1), names),
        "filters": filters(kernel),
        "feature_maps": feature_maps(images[0], maps),
        "worst_mistakes": worst_mistakes(images, labels, probabilities, names),
    }


def labeled_images(
    test: Mapping[str, np.ndarray], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """The images, labels and names of the classes that `image_classifier` draws, checked.

    Args:
        test: the test images, ``inputs [N, H, W, C]`` and ``labels [N]``.
        names: the names of the classes.

    Returns:
        An array of images, an array of labels, and a list of names.

    Raises:
        ValueError: a field is missing, there is no image or no name, the fields differ in length, or a label is outside
            0 .. len(names) - 1.
        TypeError: the test images are not a dict of numbers, the labels are not integers, or the names are one text or
            no list.
    """
    check_instance("test", test, Mapping, "a dict with the fields inputs and labels")
    if missing := {"inputs", "labels"} - set(test):
        raise ValueError(
            f"test: got the fields {list(test)}, expected inputs and labels; {', '.join(sorted(missing))} missing"
        )
    return _labeled("inputs", test["inputs"], test["labels"], names)
