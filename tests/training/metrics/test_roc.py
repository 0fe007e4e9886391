"""The area under the ROC curve, against scikit-learn's exact one."""

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dlcore.training.metrics import AUC

of = jax.jit(AUC.of, static_argnames="bins")


def examples(scale, count=2000):
    generator = np.random.default_rng(0)
    scores = generator.normal(size=count) * scale
    labels = (scores + generator.normal(size=count) * scale > scale).astype(int)
    return scores.astype(np.float32), labels, generator.uniform(0.5, 2, count).astype(np.float32)


@pytest.mark.parametrize("scale", [0.1, 4, 100])
@pytest.mark.parametrize("bins", [16, 4096])
def test_the_area_lies_within_its_bound(scale, bins):
    scores, labels, weights = examples(scale)
    for mask, options in ((np.ones(2000, bool), {}), (weights, {"sample_weight": weights})):
        area = of(scores, labels, mask, bins=bins)
        error = abs(area.value() - roc_auc_score(labels, scores, **options))
        assert error <= area.error_bound() + 1e-6
        assert area.error_bound() < 5 / bins + 0.002
    if bins == 4096:
        assert error < 1e-4


def test_equal_scores_count_half_and_parts_add_up():
    scores, labels = np.random.default_rng(0).integers(-3, 4, 60).astype(float), np.arange(60) % 3 == 0
    whole = of(scores, labels)
    assert float(whole.value()) == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    parts = jax.tree.map(np.add, of(scores[:30], labels[:30]), of(scores[30:], labels[30:]))
    assert parts.value() == whole.value()


def test_infinite_scores_lie_in_the_outer_bins():
    area = of(np.array([-np.inf, 0, 1e30, np.inf]), np.array([0, 0, 1, 1]))
    assert float(area.value()) == 1


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([1.0, 2.0, 3.0], [1, 1, 1]), ([1.0, np.nan, 3.0], [0, 1, 1]), ([1.0, 2.0, 3.0], [0, 1, 2])],
)
def test_an_area_that_is_not_defined_is_nan(scores, labels):
    assert np.isnan(of(np.array(scores), np.array(labels)).value())


def test_what_does_not_count_may_be_nan():
    area = of(np.array([1.0, 2.0, np.nan]), np.array([0, 1, 7]), np.array([True, True, False]))
    assert float(area.value()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scores": np.zeros((2, 1)), "labels": np.zeros(2, int)},
            r"scores: got \(2, 1\) for labels of shape",
        ),
        ({"scores": np.zeros(2), "labels": np.zeros(2, int), "bins": 1}, "bins: got 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AUC.of(**arguments)
