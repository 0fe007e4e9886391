"""Figures of what a convolutional network has learned: its filters, and its feature maps of one image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import as_array, as_numbers, check_axes
from dlcore.utils.checks import check_instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_image(axes: "Axes", image: np.ndarray, cmap: str = "gray") -> None:
    """Draws an image ``[H, W, C]``: three channels as red, green and blue, another number as their mean in gray.

    Colors of uint8, and floats of 0 to 1, are drawn as they are. Other colors, such as standardized ones, are stretched
    from the image's smallest value to its largest.

    Args:
        axes: where to draw.
        image: the image.
        cmap: matplotlib's name of the gray colors.

    Raises:
        ValueError: the image is not three-dimensional, or empty.
        TypeError: the image does not hold real numbers, or ``axes`` are no axes.
    """
    check_axes(axes)
    image = as_array("image", image, "[H, W, C]")
    if image.shape[-1] != 3:
        axes.imshow(image.astype(float).mean(axis=-1), cmap=cmap)
    elif image.dtype == np.uint8:
        axes.imshow(image)
    else:
        colors, low, high = image.astype(float), np.nanmin(image), np.nanmax(image)
        inside = low >= 0 and high <= 1
        axes.imshow(colors if inside else (colors - low) / max(high - low, 1e-12))


def filters(kernel: np.ndarray) -> "Figure":
    """A matplotlib figure of the filters of a first layer, one panel for each of the K filters.

    Negative weights are blue, positive weights red. All panels share their colors.

    Args:
        kernel: ``[F, F, D1, K]``; the figure shows the mean over the D1 input channels.

    Raises:
        ValueError: the kernel is not four-dimensional, or empty.
        TypeError: the kernel does not hold real numbers.
    """
    weights = as_numbers("kernel", kernel, "[F, F, D1, K]").mean(axis=2)
    count = weights.shape[-1]
    limit = np.abs(weights).max()
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = new_figure(1.1 * columns + 1.4, 1.2 * rows + 0.8)
    panels = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(panels.flat):
        axes.set_axis_off()
        if index < count:
            shown = axes.imshow(weights[:, :, index], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(str(index + 1), fontsize=8, pad=2)
    figure.colorbar(shown, ax=panels, label="weight", shrink=0.9)
    figure.suptitle(f"filters of the first layer, {weights.shape[0]} x {weights.shape[1]}", fontsize=11)
    return figure


def feature_maps(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> "Figure":
    """A matplotlib figure of one image on its way through a stack of blocks.

    The first panel is the input, as `draw_image` draws it. Then comes one panel for each block, which tiles its K maps.
    Each map is scaled to its own maximum, so brightness does not compare maps.

    Args:
        image: ``[H, W, C]``.
        maps: arrays ``[H', W', K]`` by the name of the block, in the order of the network.

    Raises:
        ValueError: the image or a map is not three-dimensional, or empty.
        TypeError: the image or a map does not hold real numbers, or the maps are not a dict.
    """
    image = as_array("image", image, "[H, W, C]")
    check_instance("maps", maps, Mapping, "a dict of arrays [H, W, K] by the name of the block")
    maps = {name: as_numbers(f"maps[{name!r}]", block, "[H, W, K]") for name, block in maps.items()}
    figure = new_figure(3.2 * (len(maps) + 1), 3.6)
    panels = figure.subplots(1, len(maps) + 1, squeeze=False)[0]
    draw_image(panels[0], image)
    panels[0].set_title(f"input, {image.shape[0]} x {image.shape[1]}", fontsize=10)
    for axes, (name, block) in zip(panels[1:], maps.items(), strict=True):
        axes.imshow(_tiles(block), cmap="magma")
        height, width, count = block.shape
        axes.set_title(f"{name}: {count} maps of {height} x {width}", fontsize=10)
    for axes in panels:
        axes.set_axis_off()
    return figure


def _tiles(maps: np.ndarray) -> np.ndarray:
    """Maps ``[H, W, K]`` as one picture: K tiles in a nearly square grid, separated by NaN, each scaled to 1."""
    height, width, count = maps.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    peak = np.maximum(maps.max(axis=(0, 1)), 1e-12)
    for index in range(count):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        picture[top : top + height, left : left + width] = maps[:, :, index] / peak[index]
    return picture
