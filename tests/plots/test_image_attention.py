"""Each word's attention lies over the image: its cells cover the pixels that they stand for."""

import numpy as np
import pytest

from dlcore.plots.image_attention import image_attention

IMAGE = np.arange(24.0).reshape(4, 6, 1)
WEIGHTS = np.array([[[0.1, 0.4, 0.1], [0.0, 0.3, 0.1]], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])


def test_each_word_has_the_image_and_its_weights(drawn):
    figure = drawn(image_attention(IMAGE, WEIGHTS, ["three", "one"]))
    assert [axes.get_title() for axes in figure.axes] == ["", "three", "one"]
    assert [len(axes.images) for axes in figure.axes] == [1, 2, 2]
    for axes, cells in zip(figure.axes[1:], WEIGHTS, strict=True):
        image, cover = axes.images
        np.testing.assert_array_equal(image.get_array(), IMAGE[..., 0])
        assert cover.get_extent() == list(image.get_extent())
        np.testing.assert_allclose(cover.get_alpha(), 0.75 * cells / cells.max())


def test_weights_of_zero_cover_nothing():
    figure = image_attention(IMAGE, np.zeros((1, 2, 3)), ["one"])
    assert not figure.axes[1].images[1].get_alpha().any()


@pytest.mark.parametrize(
    ("weights", "words", "error", "named"),
    [
        (WEIGHTS, ["one"], ValueError, "words: got 1, expected one for each of 2 maps"),
        (-WEIGHTS, ["one", "two"], ValueError, "weights: got -1.0 to -?0.0, expected finite weights"),
        (WEIGHTS * np.nan, ["one", "two"], ValueError, "weights: got nan"),
        (WEIGHTS[0], ["one", "two"], ValueError, r"weights: got shape \(2, 3\)"),
        (WEIGHTS, "ab", TypeError, "words: got 'ab', expected a list of names"),
    ],
)
def test_what_does_not_fit_is_refused(weights, words, error, named):
    with pytest.raises(error, match=named):
        image_attention(IMAGE, weights, words)
