"""The gold standard of several raters is the formula that RECOLA's authors give."""

import numpy as np
import pytest

from dlcore.data.speech.contours.gold_standard import gold_standard, pairwise_ccc


def test_agreement_and_gold_standard_by_hand():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=400).cumsum() / 10
    ratings = np.stack([truth, truth + 0.5, generator.normal(size=400) + 9], axis=1)
    agreement = pairwise_ccc(ratings)
    variance = truth.var()
    assert agreement[0, 1] == pytest.approx(2 * variance / (2 * variance + 0.25))
    weights = np.maximum((agreement.sum(axis=1) - 1) / 2, 0)
    means = ratings.mean(axis=0)
    expected = ratings.mean(axis=1) - means.mean() + (weights * means).sum() / weights.sum()
    np.testing.assert_allclose(gold_standard(ratings), expected)
    assert abs(gold_standard(ratings).mean() - truth.mean()) < 1  # the third one does not move it


def test_one_rater_is_the_gold_standard():
    ratings = np.random.default_rng(0).normal(size=(50, 1))
    np.testing.assert_allclose(gold_standard(ratings), ratings[:, 0])
