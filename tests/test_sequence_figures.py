"""Figures of sequence models say what they are given; how they look is for people to see."""

import numpy as np
import pytest

from dlcore.sequence_figures import accuracy_by_length


def test_accuracy_and_counts_stand_at_their_lengths(tmp_path):
    lengths = np.array([7, 8, 9, 9, 13, 14])
    figure = accuracy_by_length(lengths, np.array([1, 0, 1, 1, 0, 1]), "frames", bins=3)
    figure.savefig(tmp_path / "figure.png")
    upper, lower = figure.axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ["7-9", "10-12", "13-14"]
    assert upper.lines[0].get_xdata().tolist() == [0, 2]  # none has a length from 10 to 12
    np.testing.assert_allclose(upper.lines[0].get_ydata(), [3 / 4, 1 / 2])
    assert [bar.get_height() for bar in lower.patches] == [3, 0, 1, 1, 0, 1]  # right, then wrong
    assert [text.get_text() for text in lower.texts] == ["1 wrong", "1 wrong"]
    assert upper.get_title() == "4 of 6 right"


def test_a_single_length_is_a_single_bar():
    figure = accuracy_by_length(np.array([4, 4]), np.array([True, True]))
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["4"]


@pytest.mark.parametrize(("lengths", "right", "bins"), [([], [], 1), ([1, 2], [True], 1), ([1], [True], 0)])
def test_what_does_not_fit_is_refused(lengths, right, bins):
    with pytest.raises(ValueError, match=r"lengths: got shape \(\d?,\) for"):
        accuracy_by_length(np.array(lengths, int), np.array(right), bins=bins)
