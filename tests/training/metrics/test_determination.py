"""The coefficient of determination equals scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn.metrics import r2_score

from dlcore.training.metrics import R2

of = jax.jit(R2.of, static_argnames="center")


@pytest.mark.parametrize(("mean", "center"), [(0.0, 0.0), (1e4, 1e4)])
def test_it_equals_scikit_learns(mean, center):
    generator = np.random.default_rng(0)
    targets = generator.normal(size=40).astype(np.float32) + np.float32(mean)
    outputs = targets + generator.normal(size=40).astype(np.float32) / 2
    mask = generator.uniform(0, 2, 40).astype(np.float32) * (np.arange(40) < 30)
    expected = r2_score(targets, outputs, sample_weight=mask)
    hidden = np.where(mask > 0, targets, np.nan)
    assert of(outputs, hidden, mask, center=center).value() == pytest.approx(expected, abs=1e-5)
    parts = [
        of(outputs[rows], hidden[rows], mask[rows], center=center) for rows in (slice(20), slice(20, 40))
    ]
    assert jax.tree.map(np.add, *parts).value() == pytest.approx(expected, abs=1e-5)


def test_constant_targets_and_no_targets():
    ones = np.full(3, 0.1)  # 3 (.1)^2 - (.3)^2 / 3 is not 0 in floats
    for outputs, expected in ((ones, 1), (2 * ones, 0)):
        assert of(outputs, ones).value() == expected
    assert np.isnan(of(ones, ones, np.zeros(3, bool)).value())


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"outputs: got \(2, 1\) for targets of shape \(2,\)"):
        R2.of(np.ones((2, 1)), np.ones(2))


def test_an_output_that_is_nan_is_not_hidden_by_constant_targets():
    assert np.isnan(of(np.array([np.nan, 1.0, 1.0]), np.ones(3)).value())
