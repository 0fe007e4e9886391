"""Decompositions against NumPy and SciPy, alone and under vmap, and QR's derivative against finite differences."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.linalg

from dlcore.gradflow.measures import decompositions

MATRICES = np.random.default_rng(0).normal(size=(2, 3, 5, 4))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_qr():
    q, r = jax.jit(decompositions.qr)(MATRICES)
    np.testing.assert_allclose(q @ r, MATRICES, atol=1e-14, rtol=0)
    np.testing.assert_allclose(
        np.swapaxes(q, -1, -2) @ q, np.broadcast_to(np.eye(4), r.shape), atol=1e-14, rtol=0
    )
    np.testing.assert_array_equal(r, np.triu(r))


def test_qrs_derivative():
    jax.test_util.check_grads(decompositions.qr, (MATRICES[0],), order=1, modes=["fwd", "rev"], rtol=1e-6)


def test_inverse_of_triangular_matrices():
    triangles = np.triu(MATRICES[..., :4, :]) + 3 * np.eye(4)
    np.testing.assert_allclose(
        decompositions.inverse_upper(triangles), np.linalg.inv(triangles), atol=1e-14, rtol=0
    )


def test_singular_values_and_vectors():
    values = jax.vmap(decompositions.singular_values)(MATRICES)
    np.testing.assert_allclose(values, np.linalg.svd(MATRICES, compute_uv=False), rtol=1e-13)
    square = MATRICES[..., :4, :]
    left, right = decompositions.singular_vectors(square)
    diagonal = np.swapaxes(left, -1, -2) @ square @ right
    expected = np.linalg.svd(square, compute_uv=False)[..., None] * np.eye(4)
    np.testing.assert_allclose(diagonal, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_singular_values(bad):
    matrices = MATRICES[0, :, :4].copy()
    matrices[1, 2, 3] = bad
    for result in (decompositions.singular_values(matrices), *decompositions.singular_vectors(matrices)):
        assert np.isnan(result[1]).all()
        assert np.isfinite(result[jnp.array([0, 2])]).all()


def test_schur():
    square = MATRICES[..., :4, :]
    triangles = decompositions.schur(square)
    for triangle, matrix in zip(triangles.reshape(-1, 4, 4), square.reshape(-1, 4, 4), strict=True):
        np.testing.assert_allclose(
            triangle, scipy.linalg.schur(matrix, output="complex")[0], atol=1e-13, rtol=0
        )
