"""Precision, recall and F1 equal scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn import metrics as sklearn

from dlcore.training.metrics import F1, Precision, Recall

SCORES = {F1: sklearn.f1_score, Precision: sklearn.precision_score, Recall: sklearn.recall_score}
AVERAGES = ("macro", "micro", "weighted", None)


def counted(score, average):
    """The score with an average of its own, from counts made once."""
    return score(
        average=average, **{name: getattr(COUNTS, name) for name in ("correct", "predicted", "actual")}
    )


GENERATOR = np.random.default_rng(0)
LABELS, PREDICTIONS = GENERATOR.integers(0, 4, (6, 7)), GENERATOR.integers(1, 5, (6, 7))
VALID = np.arange(7) < np.array([7, 0, 3, 1, 5, 7])[:, None]
COUNTS = F1.of(np.where(VALID, PREDICTIONS, -9), np.where(VALID, LABELS, 9), VALID, classes=7)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("score", SCORES)
def test_scores_equal_scikit_learns(score, average):
    """The classes 5 and 6 do not occur, 4 is never true and 0 is never predicted."""
    options = {"labels": range(7)} if average is None else {}
    expected = SCORES[score](LABELS[VALID], PREDICTIONS[VALID], average=average, zero_division=0, **options)
    counts = {name: getattr(COUNTS, name) for name in ("correct", "predicted", "actual")}
    np.testing.assert_allclose(score(average=average, **counts).value(), expected, rtol=1e-7)


@pytest.mark.parametrize("average", AVERAGES)
def test_scores_of_several_labels_equal_scikit_learns(average):
    generator = np.random.default_rng(1)
    logits, labels = generator.normal(size=(20, 3)), generator.random((20, 3)) < 0.4
    mask = generator.uniform(0.5, 2, 20).astype(np.float32)
    score = F1.of_multi_label(logits, labels, mask, average=average)
    expected = sklearn.f1_score(labels, logits > 0, average=average, sample_weight=mask, zero_division=0)
    np.testing.assert_allclose(score.value(), expected, rtol=1e-6)
    binary = F1.of_multi_label(logits[:, :1], labels[:, :1])
    assert float(binary.value()) == pytest.approx(sklearn.f1_score(labels[:, 0], logits[:, 0] > 0))


def test_counts_add_up_and_keep_their_average():
    """Their paths in checkpoints are the names of their counts."""
    double = jax.tree.map(np.add, COUNTS, COUNTS)
    np.testing.assert_array_equal(double.actual, 2 * np.asarray(COUNTS.actual))
    assert isinstance(double, F1)
    assert double.average == "macro"
    paths = jax.tree_util.tree_flatten_with_path(COUNTS)[0]
    assert [path[0].name for path, _ in paths] == ["correct", "predicted", "actual"]


def test_nothing_counted_is_0_and_a_class_outside_is_nan():
    nothing = dict.fromkeys(("correct", "predicted", "actual"), np.zeros(2))
    for pair in (([0, 1], [0, 2]), ([0, 2], [0, 1])):
        bad = F1.of(*map(np.array, pair), classes=2)
        bad = {name: getattr(bad, name) for name in nothing}
        for score in SCORES:
            for average in AVERAGES:
                assert not np.any(score(average=average, **nothing).value())
                assert np.isnan(score(average=average, **bad).value()).all()


@pytest.mark.parametrize("average", ["Macro", "binary", 3])
def test_another_average_is_refused(average):
    with pytest.raises(ValueError, match=r'average: got .*, expected "macro", "micro", "weighted" or None'):
        F1.of(np.zeros((2, 3)), np.zeros(2, int), average=average)


def test_logits_of_another_shape_than_several_labels_are_refused():
    with pytest.raises(ValueError, match=r"logits: got \(2, 3\) for labels of shape \(2,\)"):
        F1.of_multi_label(np.zeros((2, 3)), np.zeros(2, int))
