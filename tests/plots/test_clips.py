"""A film strip shows every frame of its clip with the prediction, and mistakes in another color."""

import numpy as np
import pytest

from dlcore.plots.canvas import COLORS
from dlcore.plots.clips import film_strip

CLIPS, LENGTHS = np.arange(24.0).reshape(2, 3, 2, 2, 1), np.array([3, 1])


def test_frames_stand_with_their_predictions(drawn):
    figure = drawn(film_strip(CLIPS, LENGTHS, ["4", "7"], [["1", "4", "4"], ["7", "?", "?"]]))
    panels = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in panels[0]] == ["1", "4", "4"]
    assert [axes.title.get_color() for axes in panels[0]] == [
        COLORS["eval"],
        COLORS["train"],
        COLORS["train"],
    ]
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["4", "7"]
    assert [len(axes.images) for axes in panels.flat] == [1, 1, 1, 1, 0, 0]  # the second clip has one frame
    np.testing.assert_array_equal(panels[0, 2].images[0].get_array(), CLIPS[0, 2, :, :, 0])


def test_frames_with_names_of_their_own_show_both(drawn):
    truths, guesses = [["up", "up", "left"], ["up"] * 3], [["up", "down", "left"], ["up"] * 3]
    titles = [axes.get_title() for axes in drawn(film_strip(CLIPS, LENGTHS, truths, guesses)).axes]
    assert titles == ["up\nup", "up\ndown", "left\nleft", "up\nup", "", ""]


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"clips": CLIPS[0]}, ValueError, r"clips: got shape \(3, 2, 2, 1\), expected \[N, T, H, W, C\]"),
        ({"lengths": np.array([0, 1])}, ValueError, r"lengths: got \[0, 1\], expected 2 numbers from 1 to 3"),
        ({"lengths": np.array([1, 4])}, ValueError, r"lengths: got \[1, 4\]"),
        ({"truths": ["4"]}, ValueError, "truths: got 1, expected one for each of 2 clips"),
        ({"truths": [["4"], "7"]}, ValueError, "truths: got 1 for a clip, expected one for each of 3 frames"),
        ({"predictions": [3, 4]}, TypeError, "predictions: got 3, expected a list of names"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, named):
    good = {"clips": CLIPS, "lengths": LENGTHS, "truths": ["4", "7"], "predictions": ["4", "7"]}
    with pytest.raises(error, match=named):
        film_strip(**{**good, **changes})
