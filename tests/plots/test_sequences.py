"""Figures of sequence models hold the accuracies and errors of their arrays."""

import numpy as np
import pytest

from dlcore.plots.sequences import (
    accuracy_by_length,
    accuracy_by_place,
    accuracy_over_time,
    predicted_against_true,
)


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


def test_short_integers_do_not_overflow():
    figure = accuracy_by_length(np.array([0, 255], np.uint8), [True, False], bins=1)
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["0-255"]


@pytest.mark.parametrize(
    ("lengths", "correct", "bins", "error", "named"),
    [
        ([], [], 1, ValueError, r"lengths: got shape \(0,\)"),
        ([1, 2], [True], 1, ValueError, r"correct: got shape \(1,\) for lengths of shape \(2,\)"),
        ([-1, 2], [True, True], 1, ValueError, "lengths: got -1, expected lengths of at least 0"),
        ([1], [0.7], 1, ValueError, "correct: got float64 other than 0 and 1, expected booleans"),
        ([1], [True], 0, ValueError, "bins: got 0"),
        ([1.5], [True], 1, TypeError, "lengths: got float64, expected integers"),
        (None, [True], 1, TypeError, "lengths: got None"),
        ([1], [True], 2.5, TypeError, "bins: got 2.5"),
        ([1], [True], None, TypeError, "bins: got None"),
    ],
)
def test_lengths_that_do_not_fit_are_refused_by_name(lengths, correct, bins, error, named):
    with pytest.raises(error, match=named):
        accuracy_by_length(lengths, correct, bins=bins)


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


@pytest.mark.parametrize("chance", [-0.1, 1.1, np.nan])
def test_a_chance_that_is_no_share_is_refused(chance):
    with pytest.raises(ValueError, match=r"chance: got .*, expected a number in \[0, 1\]"):
        accuracy_by_place([[True]], chance)


def test_predictions_are_drawn_above_their_targets(drawn):
    targets, predictions = np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.0])
    figure = drawn(predicted_against_true(targets, predictions))
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[2].get_xydata(), np.stack([targets, predictions], axis=1))
    assert axes.get_title() == "mean squared error 0.42 over 3 examples"  # (1/4 + 0 + 1) / 3
    assert [line.get_label() for line in axes.lines[1:]] == ["mean: 0.6667", "model: 0.4167"]


def test_errors_of_small_integers_do_not_overflow():
    figure = predicted_against_true(np.array([0, 1], np.uint8), np.array([1, 0], np.uint8))
    assert figure.axes[0].get_title() == "mean squared error 1 over 2 examples"


@pytest.mark.parametrize(
    ("targets", "predictions", "named"),
    [
        ([], [], "targets: got shape"),
        ([[1.0]], [[1.0]], "targets: got shape"),
        ([1.0], [[1.0]], "predictions: got shape"),
        ([1.0], [1.0, 2.0], r"predictions: got shape \(2,\) for targets of shape \(1,\)"),
    ],
)
def test_predictions_that_do_not_fit_are_refused_by_name(targets, predictions, named):
    with pytest.raises(ValueError, match=named):
        predicted_against_true(targets, predictions)


def test_accuracy_over_time_counts_valid_steps(drawn):
    correct = np.array([[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]])
    (axes,) = drawn(accuracy_over_time(np.array([3, 1, 2]), correct, "frames")).axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]  # no sequence has a fourth step
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1 / 3, 1 / 2, 1])
    assert axes.get_title() == "3 of 6 correct"
    assert axes.get_xlabel() == "time in frames"


@pytest.mark.parametrize("lengths", [[1], [0, 0], [1, 3], [-1, 2]])
def test_accuracy_over_time_needs_lengths_that_fit(lengths):
    with pytest.raises(ValueError, match=r"lengths: got .*, expected 2 numbers from 0 to 2"):
        accuracy_over_time(np.array(lengths), np.ones((2, 2)))
