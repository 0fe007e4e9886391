"""Figures of what a model looks at in an image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure
from dlcore.plots.checks import as_array, as_names, as_numbers
from dlcore.plots.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_attention(image: np.ndarray, weights: np.ndarray, words: Sequence[str]) -> "Figure":
    """A matplotlib figure of an image, and once more for each word, with the weights of the word's attention over it.

    The first panel is the image alone. In the others the cells that the model looked at are red, and a cell's share of
    the largest weight of its panel is its opacity.

    Args:
        image: ``[H, W, C]``, as `images.draw_image` draws it.
        weights: ``[N, H', W']``, at least 0, one map for each word, with the cells of a feature map of the image.
        words: the N words.

    Raises:
        ValueError: image or weights have another rank or no element, a weight is negative or not finite, or there is
            another number of words.
        TypeError: image or weights are not real numbers, or the words are not a list of names.
    """
    image, weights = as_array("image", image, "[H, W, C]"), as_numbers("weights", weights, "[N, H', W']")
    words = as_names("words", words)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(
            f"weights: got {weights.min()} to {weights.max()}, expected finite weights of at least 0"
        )
    if len(words) != len(weights):
        raise ValueError(f"words: got {len(words)}, expected one for each of {len(weights)} maps")
    height, width = image.shape[:2]
    figure = new_figure(2.2 * (len(words) + 1), 2.2 * height / width + 0.5)
    panels = figure.subplots(1, len(words) + 1, squeeze=False)[0]
    for axes in panels:
        draw_image(axes, image)
        axes.set_axis_off()
    for axes, cells, word in zip(panels[1:], weights, words, strict=True):
        shares = cells / max(cells.max(), np.finfo(float).tiny)
        axes.imshow(
            np.broadcast_to(_rgb(COLORS["eval"]), (*cells.shape, 3)),
            alpha=0.75 * shares,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        axes.set_title(str(word), fontsize=10)
    return figure


def _rgb(color: str) -> np.ndarray:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(color))
