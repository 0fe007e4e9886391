"""An upper bound on the gradient flow of a plain RNN, and a number for what its eigenvalues do not show."""

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures import decompositions
from dlcore.ops.arrays import at_least_float32, check_floats
from dlcore.utils.checks import check_number


def log_bound(recurrent_kernel: jax.Array, max_slope: float = 1.0) -> jax.Array:
    """Computes the rate that no gradient of a plain RNN exceeds: ``log(sigma_max(U) max|phi'|)``, in nats a step.

    With ``h_t = phi(x_t W + h_{t-1} U + b)``, ``|dh_T / dh_{T-l}| <= exp(l bound)``. If the bound is below 0, gradients
    must vanish; above 0, they may vanish or explode (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 2.1).

    Args:
        recurrent_kernel: U ``[*batch, H, H]``.
        max_slope: ``max |phi'|``: 1 for tanh, ReLU and the identity, 1/4 for the sigmoid.

    Returns:
        An array ``[*batch]``, in nats a step; NaN if an entry of U is not finite, -inf for a kernel of 0.

    Raises:
        ValueError: U is not square or is empty, or max_slope is below 0.
        TypeError: U is not an array of floating point numbers, or max_slope not a number.

    >>> (log_bound(jnp.diag(jnp.array([2.0, 0.1])), max_slope=0.25) / jnp.log(2)).round(4).tolist()
    -1.0
    """
    max_slope = check_number("max_slope", max_slope, "[0, inf)")
    kernel = _checked_square("recurrent_kernel", recurrent_kernel)
    return jnp.log(decompositions.singular_values(kernel)[..., 0]) + jnp.log(max_slope)


def departure_from_normality(matrix: jax.Array) -> jax.Array:
    """Computes Henrici's number ``sqrt(|A|_F^2 - sum |lambda_i|^2)``, which is 0 for a normal matrix.

    Symmetric and orthogonal matrices are normal. If the number is large, ``|A^l|`` grows for some lags although all
    eigenvalues are below 1: gradients explode before they vanish (Henrici 1962; for RNNs Kerg et al. 2019, arXiv
    1905.12080). It is computed as the norm of the strictly upper part of A's Schur form, because the difference of
    squares would lose digits. JAX has the Schur form on the CPU only.

    Args:
        matrix: A ``[*batch, n, n]``.

    Returns:
        A real array ``[*batch]``; NaN if an entry of A is not finite.

    Raises:
        ValueError: A is not square or is empty.
        TypeError: A is not an array of floating point numbers.

    >>> departure_from_normality(jnp.array([[0.5, 3.0], [0.0, 0.5]])).tolist()
    3.0
    """
    matrix = _checked_square("matrix", matrix)
    largest = jnp.max(jnp.abs(matrix), axis=(-2, -1), keepdims=True)
    largest = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    upper = jnp.triu(decompositions.schur(matrix / largest), 1)
    return jnp.sqrt(jnp.sum(jnp.abs(upper) ** 2, axis=(-2, -1))) * largest[..., 0, 0]


def _checked_square(name: str, matrix: jax.Array) -> jax.Array:
    """The matrices ``[*batch, n, n]`` in float32 or wider, which the decompositions need."""
    matrix = at_least_float32(check_floats(name, matrix, 2, "[*batch, n, n]"))
    rows, columns = matrix.shape[-2:]
    if rows != columns or not rows:
        raise ValueError(f"{name}: got shape {matrix.shape}, expected [*batch, n, n] with n >= 1")
    return matrix
