"""QR, singular values and Schur form, of one matrix after the other.

On a CPU with few cores, two batched decompositions that run at the same time wait for each other's threads and never
end (JAX 0.10). So the decompositions here are never batched: under ``jax.vmap`` each becomes a loop over the matrices.
"""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes ``A = Q R`` of each matrix: Q has orthonormal columns, R is upper triangular.

    Differentiable once, in either mode, where R is invertible (Walter & Lehmann 2010, arXiv 1001.1654): with
    ``X = dA R^-1`` and ``C = Q^T X``, ``dR = (C - S) R`` and ``dQ = Q S + X - Q C``, where S is the antisymmetric
    matrix with C's strictly lower part.

    Args:
        matrix: A ``[*batch, n, k]`` with ``n >= k``.

    Returns:
        A pair: Q ``[*batch, n, k]`` and R ``[*batch, k, k]``.

    >>> q, r = qr(jnp.array([[[3.0], [4.0]]]))
    >>> abs(r).tolist()
    [[[5.0]]]
    """
    if matrix.ndim > 2:
        return jax.vmap(qr)(matrix)
    return _qr(matrix)


@qr.defjvp
def _qr_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    q, r = qr(*primals)
    (tangent,) = tangents
    x = tangent @ inverse_upper(r)
    c = jnp.swapaxes(q, -1, -2) @ x
    lower = jnp.tril(c, -1)
    s = lower - jnp.swapaxes(lower, -1, -2)
    return (q, r), (q @ s + x - q @ c, (c - s) @ r)


def inverse_upper(matrix: jax.Array) -> jax.Array:
    """Returns the inverses ``[*batch, k, k]`` of upper triangular matrices ``[*batch, k, k]``."""
    return jax.vmap(inverse_upper)(matrix) if matrix.ndim > 2 else _inverse_upper(matrix)


def singular_values(matrix: jax.Array) -> jax.Array:
    """Computes the singular values of each matrix, largest first.

    Args:
        matrix: ``[*batch, n, m]``.

    Returns:
        An array ``[*batch, min(n, m)]``; all values of a matrix are NaN if one of its entries is not finite.

    >>> singular_values(jnp.diag(jnp.array([2.0, -3.0]))).round(4).tolist()
    [3.0, 2.0]
    """
    return jax.vmap(singular_values)(matrix) if matrix.ndim > 2 else _singular_values(matrix)


def singular_vectors(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes U and V of ``A = U diag(s) V^T``, the singular vectors, as columns.

    Args:
        matrix: A ``[*batch, k, k]``, real.

    Returns:
        The pair (U, V), each ``[*batch, k, k]``. Both are NaN if an entry of the matrix is not finite.
    """
    return jax.vmap(singular_vectors)(matrix) if matrix.ndim > 2 else _singular_vectors(matrix)


def schur(matrix: jax.Array) -> jax.Array:
    """Computes the Schur form T of each matrix, ``A = Z T Z^H``; A's eigenvalues are on the diagonal of T.

    JAX has it on the CPU only.

    Args:
        matrix: A ``[*batch, n, n]``.

    Returns:
        T, a complex array ``[*batch, n, n]``, upper triangular.
    """
    return jax.vmap(schur)(matrix) if matrix.ndim > 2 else _schur(matrix)


@jax.custom_batching.sequential_vmap
def _qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    q, r = jnp.linalg.qr(matrix)
    return q, r


@jax.custom_batching.sequential_vmap
def _inverse_upper(matrix: jax.Array) -> jax.Array:
    return jax.scipy.linalg.solve_triangular(matrix, jnp.eye(len(matrix), dtype=matrix.dtype))


@jax.custom_batching.sequential_vmap
def _singular_values(matrix: jax.Array) -> jax.Array:
    finite = jnp.isfinite(matrix).all()
    values = jnp.linalg.svd(jnp.where(finite, matrix, 0), compute_uv=False)
    return jnp.where(finite, values, jnp.nan)


@jax.custom_batching.sequential_vmap
def _singular_vectors(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    finite = jnp.isfinite(matrix).all()
    left, _, right = jnp.linalg.svd(jnp.where(finite, matrix, 0))
    return jnp.where(finite, left, jnp.nan), jnp.where(finite, right.T, jnp.nan)


@jax.custom_batching.sequential_vmap
def _schur(matrix: jax.Array) -> jax.Array:
    triangle, _ = jax.scipy.linalg.schur(matrix, output="complex")
    return triangle
