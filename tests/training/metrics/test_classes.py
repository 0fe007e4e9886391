"""Predicted and true classes."""

import numpy as np
import pytest

from dlcore.training.metrics.classes import to_classes


def test_logits_and_predictions_give_the_same_classes():
    logits, labels = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([[0, 1, 2], [3, 0, 1]])
    of_logits = to_classes(logits, labels, [True, False], None)
    of_classes = to_classes(logits.argmax(-1), labels, [True, False], 4)
    assert of_logits.classes == of_classes.classes == 4
    for one, other in zip(of_logits[:3], of_classes[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(of_logits.weights, [[True] * 3, [False] * 3])


def test_a_place_outside_of_the_classes_is_marked():
    known = to_classes(np.array([0, 5, 1, 1]), np.array([0, 1, -1, 1], np.int8), None, 3)
    assert known.predicted.tolist() == known.labels.tolist() == [0, -1, -1, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (np.zeros(2, int), np.zeros(2, int), None, None),
            TypeError,
            "classes: got None for predictions of int",
        ),
        ((np.zeros(3, int), np.zeros(2, int), None, 2), ValueError, r"predictions: got \(3,\) for labels of"),
        (
            (np.zeros((2, 3)), np.zeros(2, int), None, 3),
            TypeError,
            "predictions: got float64, expected integers",
        ),
        ((np.zeros((2, 3)), np.zeros(3, int), None, None), ValueError, r"logits: got \(2, 3\) for labels"),
        ((np.zeros(2, int), np.zeros(2, int), None, 0), ValueError, "classes: got 0"),
        ((np.zeros(2, int), np.zeros(2, int), np.ones(3), 2), ValueError, r"mask: got shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        to_classes(*arguments)
