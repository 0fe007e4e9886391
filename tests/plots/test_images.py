"""Figures of filters and feature maps have a panel for each, with its numbers."""

import numpy as np
import pytest

from dlcore.plots.canvas import new_figure
from dlcore.plots.images import draw_image, feature_maps, filters


def test_filters_are_drawn(drawn):
    drawn(filters(np.ones((3, 3, 1, 2))))


@pytest.mark.parametrize(("depth", "count"), [(1, 3), (2, 9)])
def test_each_filter_has_its_panel(depth, count):
    kernel = np.random.default_rng(0).normal(size=(3, 3, depth, count))
    figure = filters(kernel)
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_allclose(panels, kernel.mean(axis=2).transpose(2, 0, 1))


def test_feature_maps_show_the_image_and_each_block(drawn):
    maps = {"block_0": np.ones((4, 4, 5)), "block_1": np.zeros((2, 2, 7))}
    figure = drawn(feature_maps(np.ones((8, 8, 1)), maps))
    assert [axes.get_title() for axes in figure.axes] == [
        "input, 8 x 8",
        "block_0: 5 maps of 4 x 4",
        "block_1: 7 maps of 2 x 2",
    ]


def test_maps_are_tiles_of_one_picture_on_their_own_scales():
    maps = np.stack([np.full((2, 3), 2.0), [[1, 2, 4], [0, 0, 4]], np.zeros((2, 3))], axis=-1)
    picture = feature_maps(np.ones((2, 3, 1)), {"block": maps}).axes[1].images[0].get_array().filled(np.nan)
    gap = np.nan
    np.testing.assert_array_equal(
        picture,
        [
            [1, 1, 1, gap, 0.25, 0.5, 1],
            [1, 1, 1, gap, 0, 0, 1],
            [gap] * 7,
            [0, 0, 0, gap, gap, gap, gap],
            [0, 0, 0, gap, gap, gap, gap],
        ],
    )


def drawn_image(image):
    axes = new_figure(1, 1).subplots()
    draw_image(axes, image)
    return np.asarray(axes.images[0].get_array())


def test_three_channels_are_drawn_in_color():
    colors = np.random.default_rng(0).random((4, 5, 3))
    np.testing.assert_array_equal(drawn_image(colors), colors)
    eight_bit = (255 * colors).astype(np.uint8)
    np.testing.assert_array_equal(drawn_image(eight_bit), eight_bit)
    standardized = (colors - 0.5) / 0.3
    low, high = standardized.min(), standardized.max()
    np.testing.assert_allclose(drawn_image(standardized), (standardized - low) / (high - low))


def test_other_numbers_of_channels_are_drawn_as_their_mean():
    for channels in (1, 2, 4):
        image = np.random.default_rng(0).random((4, 5, channels))
        np.testing.assert_allclose(drawn_image(image), image.mean(axis=-1))


def test_feature_maps_show_the_colors_of_the_input():
    image = np.random.default_rng(0).random((4, 5, 3))
    figure = feature_maps(image, {"block": np.ones((2, 2, 3))})
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), image)


def test_arrays_that_do_not_fit_are_refused_by_name():
    for image in (np.ones((4, 4)), np.ones((0, 4, 1))):
        with pytest.raises(ValueError, match=r"image: got shape .*, expected \[H, W, C\]"):
            drawn_image(image)
    for image in (None, np.ones((4, 4, 3), complex)):
        with pytest.raises(TypeError, match=r"image: got .*, expected real numbers \[H, W, C\]"):
            drawn_image(image)
    with pytest.raises(TypeError, match=r"axes: got .*, expected a matplotlib Axes"):
        draw_image(new_figure(1, 1), np.ones((4, 4, 1)))
    with pytest.raises(ValueError, match=r"maps\['b'\]: got shape \(2, 2\), expected"):
        feature_maps(np.ones((4, 4, 1)), {"b": np.ones((2, 2))})
    with pytest.raises(TypeError, match=r"maps: got .*, expected a dict of arrays"):
        feature_maps(np.ones((4, 4, 1)), [np.ones((2, 2, 1))])
    for kernel in (np.ones((3, 3, 1)), np.ones((3, 3, 1, 0))):
        with pytest.raises(ValueError, match="kernel: got shape"):
            filters(kernel)
