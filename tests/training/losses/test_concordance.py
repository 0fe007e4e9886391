"""The loss of contours is one minus their concordance correlation coefficient, for each output over the whole batch."""

import jax
import numpy as np
import pytest

from dlcore.training import losses


def test_the_loss_is_one_minus_the_mean_coefficient_of_the_whole_batch():
    generator = np.random.default_rng(0)
    targets = generator.normal(size=(4, 50, 2)).cumsum(axis=1).astype(np.float32)
    outputs = (0.7 * targets + generator.normal(size=targets.shape) + 0.5).astype(np.float32)
    lengths = np.array([50, 17, 1, 30], np.int32)
    valid = np.arange(50) < lengths[:, None]
    targets[~valid] = outputs[~valid] = np.nan
    coefficients = []
    for k in range(2):
        y, t = np.float64(outputs[valid][:, k]), np.float64(targets[valid][:, k])
        covariance = np.cov(y, t, ddof=0)
        spread = np.trace(covariance) + (y.mean() - t.mean()) ** 2
        coefficients.append(2 * covariance[0, 1] / spread)
    batch = {"targets": targets, "lengths": lengths}
    (loss, measured), gradient = jax.value_and_grad(losses.concordance, has_aux=True)(outputs, batch)
    assert 1 - loss == pytest.approx(np.mean(coefficients), abs=1e-5)
    assert measured["loss"].value() == pytest.approx(1 - np.mean(coefficients), abs=1e-5)
    assert measured["ccc"].value() == pytest.approx(np.mean(coefficients), abs=1e-5)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~valid].any()


def test_constant_outputs_have_the_loss_one_and_a_finite_gradient():
    batch = {"targets": np.random.default_rng(0).normal(size=(2, 9, 1)).astype(np.float32)}
    run = jax.value_and_grad(lambda outputs: losses.concordance(outputs, batch)[0])
    loss, gradient = run(np.full((2, 9, 1), 0.3, np.float32))
    assert loss == pytest.approx(1, abs=1e-6)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
