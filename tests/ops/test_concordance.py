"""The concordance correlation coefficient: its moments, constants, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dlcore.ops.concordance import ccc


def test_it_equals_the_moments_of_numpy_along_the_last_axis():
    outputs, targets, weights = np.random.default_rng(0).uniform(size=(3, 4, 5, 30))
    expected = []
    for y, t, w in zip(*(a.reshape(-1, 30) for a in (outputs, targets, weights)), strict=True):
        covariance = np.cov(y, t, aweights=w, ddof=0)
        distance = np.average(y, weights=w) - np.average(t, weights=w)
        expected.append(2 * covariance[0, 1] / (np.trace(covariance) + distance**2))
    np.testing.assert_allclose(ccc(outputs, targets, weights).ravel(), expected, rtol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.3, 1e3])
def test_the_gradient_of_constant_outputs_is_finite(constant):
    targets = jnp.asarray(np.random.default_rng(0).normal(size=30))
    for truth in (targets, jnp.full(30, constant)):
        value, gradient = jax.value_and_grad(ccc)(jnp.full(30, constant), truth)
        assert value == pytest.approx(0, abs=1e-6)
        assert jnp.isfinite(gradient).all()


def test_the_gradient_equals_finite_differences():
    generator = np.random.default_rng(0)
    outputs, targets, weights = generator.normal(size=(3, 12))
    with jax.enable_x64(True):
        check_grads(lambda y: ccc(y, targets, abs(weights)), (outputs,), order=1, modes="rev")


@pytest.mark.parametrize("name", ["targets", "weights"])
def test_other_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"\(3,\)"):
        ccc(**{"outputs": np.ones(3), "targets": np.ones(3), "weights": np.ones(3), name: np.ones(2)})
