"""TODO."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.images import feature_maps, filters

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> "Figure":
    """How often each class was taken for each other; colors show the mistakes, numbers all.

    Args:
        labels: ``[N]`` true classes. predictions: ``[N]`` said classes. names: of the classes.
    """
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
    figure = new_figure(1.7 * columns, 2.1 * rows + 0.5)
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
