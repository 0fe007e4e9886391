"""Figures of sequence models hold the accuracies and errors of their arrays."""

import numpy as np
import pytest

from dlcore.plots.sequences import accuracy_by_length, accuracy_by_place, predicted_against_true


def test_accuracy_and_counts_are_drawn_at_their_lengths(drawn):
    lengths = np.array([7, 8, 9, 9, 13, 14])
    figure = drawn(accuracy_by_length(lengths, np.array([1, 0, 1, 1, 0, 1]), "frames", bins=3))
    upper, lower = figure.axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ["7-9", "10-12", "13-14"]
    assert upper.lines[0].get_xdata().tolist() == [0, 2]  # no sequence has a length from 10 to 12
    np.testing.assert_allclose(upper.lines[0].get_ydata(), [3 / 4, 1 / 2])
    assert [bar.get_height() for bar in lower.patches] == [3, 0, 1, 1, 0, 1]  # correct, then wrong
    assert [text.get_text() for text in lower.texts] == ["1 wrong", "1 wrong"]
    assert upper.get_title() == "4 of 6 correct"


def test_a_single_length_is_a_single_bar():
    figure = accuracy_by_length(np.array([4, 4]), np.array([True, True]))
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["4"]


@pytest.mark.parametrize(("lengths", "correct", "bins"), [([], [], 1), ([1, 2], [True], 1), ([1], [True], 0)])
def test_lengths_that_do_not_fit_are_refused(lengths, correct, bins):
    with pytest.raises(ValueError, match=r"lengths: got shape \(\d?,\), correct of"):
        accuracy_by_length(np.array(lengths, int), np.array(correct), bins=bins)


def test_lengths_and_bins_that_are_no_integers_are_refused():
    for lengths, bins in (([1.5], 1), ([1], 2.5), ([1], None), (None, 1)):
        with pytest.raises(TypeError, match=r"lengths: got .* bins, expected integers"):
            accuracy_by_length(lengths, [True], bins=bins)


def test_every_place_of_an_answer_has_its_bar(drawn):
    figure = drawn(accuracy_by_place(np.array([[1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]), chance=0.25))
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [1, 0.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["100.0%", "50.0%", "50.0%"]
    assert axes.get_title() == "66.67% of places and 25.00% of answers correct"
    assert list(axes.lines[0].get_ydata()) == [0.25, 0.25]


@pytest.mark.parametrize("correct", [np.ones(3), np.ones((0, 3)), np.ones((3, 0))])
def test_answers_without_places_are_refused(correct):
    with pytest.raises(ValueError, match="correct: got shape"):
        accuracy_by_place(correct, 0.5)


def test_predictions_are_drawn_above_their_targets(drawn):
    targets, predictions = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.0])
    figure = drawn(predicted_against_true(targets, predictions))
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[2].get_xydata(), np.stack([targets, predictions], axis=1))
    assert axes.get_title() == "mean squared error 0.42 over 3 examples"  # (1/4 + 0 + 1) / 3
    assert [line.get_label() for line in axes.lines[1:]] == ["mean: 0.6667", "model: 0.4167"]


@pytest.mark.parametrize(("targets", "predictions"), [([], []), ([1.0], [[1.0]]), ([[1.0]], [[1.0]])])
def test_predictions_that_do_not_fit_are_refused(targets, predictions):
    with pytest.raises(ValueError, match="predictions: got shape"):
        predicted_against_true(np.array(targets), np.array(predictions))
