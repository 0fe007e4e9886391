"""Figures of filters and feature maps have a panel for each, with its numbers."""

import numpy as np
import pytest

from dlcore.plots.images import feature_maps, filters


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
