"""The norm bound and the departure from normality, by matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import normality
from tests.helpers import reference, systems


def test_no_gradient_exceeds_the_norm_bound():
    """The products of a tanh net's Jacobians ``diag(1 - h_t^2) U^T``, in NumPy."""
    system = systems.driven(dl.RNNCell(8), steps=40)
    params, inputs, initial = jax.device_get((dict(system.params), system.inputs, system.initial_state))
    scales = np.array([0.5, 0.9, 2.0], np.float32)
    kernels = scales[:, None, None] * params["recurrent_kernel"]
    bounds = np.asarray(jax.jit(normality.log_bound)(kernels))
    measured = []
    for kernel in kernels:
        hidden, matrices = initial[0], []
        for x in inputs[:, 0]:
            hidden = reference.rnn(params | {"recurrent_kernel": kernel}, hidden, x)
            matrices.append((1 - hidden**2)[:, None] * kernel.T)
        products = systems.products(np.stack(matrices), 40)
        measured.append(np.log([np.linalg.norm(product, 2) for product in products]))
    measured = np.stack(measured)
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


def test_extreme_kernels_have_defined_numbers():
    assert normality.log_bound(jnp.zeros((2, 2))) == -np.inf
    assert normality.log_bound(jnp.eye(2), max_slope=0) == -np.inf
    assert np.isnan(normality.log_bound(jnp.full((2, 2), jnp.nan)))
    assert normality.log_bound(jnp.eye(2, dtype=jnp.bfloat16)) == 0
    shear = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    for size in (1e-30, 1e30):
        np.testing.assert_allclose(normality.departure_from_normality(size * shear), size, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: normality.log_bound([[1.0]]), TypeError, "recurrent_kernel: got list"),
        (lambda: normality.log_bound(jnp.ones((2, 3))), ValueError, r"recurrent_kernel: got shape \(2, 3\)"),
        (lambda: normality.log_bound(jnp.ones((2, 2)), "1"), TypeError, "max_slope: got '1'"),
        (lambda: normality.log_bound(jnp.ones((2, 2)), -1), ValueError, "max_slope: got -1"),
        (lambda: normality.departure_from_normality(jnp.ones(2)), ValueError, r"matrix: got shape \(2,\)"),
        (lambda: normality.departure_from_normality(jnp.ones((0, 0))), ValueError, "matrix: got shape"),
        (lambda: normality.departure_from_normality(None), TypeError, "matrix: got None"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
