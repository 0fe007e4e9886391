"""Decompositions against NumPy and SciPy, alone and under vmap, and QR's derivative against finite differences."""

import jax
import jax.test_util
import numpy as np
import pytest
import scipy.linalg

from dlcore.gradflow.measures import decompositions

MATRICES = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
SQUARE = MATRICES[..., :4, :]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def computed(function, *arguments):
    """The function's results in NumPy, computed by one program."""
    return jax.device_get(jax.jit(function)(*arguments))


def test_qr():
    q, r = computed(decompositions.qr, MATRICES)
    np.testing.assert_allclose(q @ r, MATRICES, atol=1e-14, rtol=0)
    identity = np.broadcast_to(np.eye(4), r.shape)
    np.testing.assert_allclose(np.swapaxes(q, -1, -2) @ q, identity, atol=1e-14, rtol=0)
    np.testing.assert_array_equal(r, np.triu(r))


def test_derivative_of_qr():
    qr = jax.jit(decompositions.qr)
    jax.test_util.check_grads(qr, (MATRICES[0],), order=1, modes=["fwd", "rev"], rtol=1e-6)


def test_inverse_of_triangular_matrices():
    triangles = np.triu(SQUARE) + 3 * np.eye(4)
    inverses = computed(decompositions.inverse_upper, triangles)
    np.testing.assert_allclose(inverses, np.linalg.inv(triangles), atol=1e-14, rtol=0)


def both_of_svd(matrices):
    return decompositions.singular_values(matrices), *decompositions.singular_vectors(matrices)


def test_singular_values_and_vectors():
    values, left, right = computed(jax.vmap(both_of_svd), SQUARE)
    expected = np.linalg.svd(SQUARE, compute_uv=False)
    np.testing.assert_allclose(values, expected, rtol=1e-13)
    diagonals = np.swapaxes(left, -1, -2) @ SQUARE @ right
    np.testing.assert_allclose(diagonals, expected[..., None] * np.eye(4), atol=1e-13, rtol=0)
    values = computed(decompositions.singular_values, MATRICES)
    np.testing.assert_allclose(values, np.linalg.svd(MATRICES, compute_uv=False), rtol=1e-13)


def test_a_matrix_that_is_not_finite_has_no_singular_values():
    matrices = SQUARE.reshape(6, 4, 4).copy()
    matrices[1, 2, 3], matrices[4, 0, 0] = np.nan, np.inf
    for result in computed(both_of_svd, matrices):
        assert np.isnan(result[[1, 4]]).all()
        assert np.isfinite(result[[0, 2, 3, 5]]).all()


def test_schur():
    triangles = computed(decompositions.schur, SQUARE)
    for triangle, matrix in zip(triangles.reshape(-1, 4, 4), SQUARE.reshape(-1, 4, 4), strict=True):
        expected = scipy.linalg.schur(matrix, output="complex")[0]
        np.testing.assert_allclose(triangle, expected, atol=1e-13, rtol=0)
