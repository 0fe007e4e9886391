"""The norm bound and the departure from normality, by matrices."""

import jax
import numpy as np

import dlcore as dl
from dlcore.gradflow.measures import jacobians, normality
from tests.helpers import systems


def test_no_gradient_exceeds_the_norm_bound():
    system = systems.driven(dl.RNNCell(8), steps=40)

    @jax.jit
    @jax.vmap
    def measure(scale):
        scaled = systems.scaled(system, scale)
        bound = normality.log_bound(scaled.params["recurrent_kernel"])
        return bound, jacobians.log_products(scaled)[:, 0]

    scales = np.array([0.5, 0.9, 2.0], np.float32)
    bounds, measured = jax.device_get(measure(scales))
    np.testing.assert_allclose(bounds, np.log(scales), atol=1e-5, rtol=0)  # the kernel is orthogonal
    assert (measured <= np.arange(41) * bounds[:, None] + 1e-4).all()


def test_norm_bound_of_any_kernel():
    kernels = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    bounds = jax.jit(lambda: normality.log_bound(kernels, max_slope=0.25))()
    np.testing.assert_allclose(bounds, np.log(np.linalg.norm(kernels, 2, axis=(1, 2)) / 4), rtol=1e-5)


def test_departure_from_normality():
    matrix = np.random.default_rng(0).normal(size=(3, 7, 7))
    normal = np.stack([matrix[0] + matrix[0].T, np.linalg.qr(matrix[0])[0]])
    with jax.enable_x64(True):
        measure = jax.jit(normality.departure_from_normality)
        found, none = measure(matrix), measure(normal)
    squares = (matrix**2).sum((1, 2)) - (abs(np.linalg.eigvals(matrix)) ** 2).sum(1)
    np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-12)
    assert (np.asarray(none) < 1e-13).all()
