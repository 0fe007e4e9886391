"""The alignment matrix has a row for each token that was written and a column for each that was read."""

import numpy as np
import pytest

import dlcore as dl


def test_tokens_stand_beside_their_weights(drawn):
    weights = np.array([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    figure = drawn(dl.plots.attention(weights, ["K", "S", "<end>"], ["x", "é"], "a word"))
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), weights)
    assert axes.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["K", "S", "<end>"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["x", "é"]
    assert axes.get_title() == "a word"


@pytest.mark.parametrize(
    ("weights", "rows", "error", "message"),
    [
        ([[0.5, 0.5]], ["a", "b"], ValueError, r"weights: got shape \(1, 2\) for 2 rows and 2 columns"),
        ([[-0.5, 1.5]], ["a"], ValueError, "weights: got -0.5 to 1.5, expected 0 to 1"),
        ([[0.5, 0.5]], "a", TypeError, "rows: got 'a', expected a list of names"),
        (None, ["a"], TypeError, "weights: got None"),
    ],
)
def test_what_does_not_fit_is_refused(weights, rows, error, message):
    with pytest.raises(error, match=message):
        dl.plots.attention(weights, rows, ["x", "y"])
