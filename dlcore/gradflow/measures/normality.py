"""What bounds gradient flow, what keeps it level, and why a spectrum of eigenvalues does not tell all of it."""

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures import decompositions


def log_bound(recurrent_kernel: jax.Array, max_slope: float = 1.0) -> jax.Array:
    """The rate that no gradient of a plain RNN exceeds: ``log(sigma_max(U) max|phi'|)``, in nats a step.

    With ``h_t = phi(x_t W + h_{t-1} U + b)`` is ``|dh_T / dh_{T-l}| <= exp(l bound)``; below 0 gradients must vanish,
    above they may do anything (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 2.1).

    Args:
        recurrent_kernel: U ``[*batch, H, H]``.
        max_slope: ``max |phi'|``, 1 of tanh, ReLU and the identity, 1/4 of the sigmoid.

    Returns:
        ``[*batch]``.

    >>> (log_bound(jnp.diag(jnp.array([2.0, 0.1])), max_slope=0.25) / jnp.log(2)).round(4).tolist()
    -1.0
    """
    return jnp.log(decompositions.singular_values(recurrent_kernel)[..., 0] * max_slope)


def departure_from_normality(matrix: jax.Array) -> jax.Array:
    """Henrici's number ``sqrt(|A|_F^2 - sum |lambda_i|^2)``: 0 of a symmetric, orthogonal or other normal matrix.

    Where it is large, ``|A^l|`` grows for some lags although all eigenvalues are below 1: gradients explode before
    they vanish (Henrici 1962; of RNNs Kerg et al. 2019, arXiv 1905.12080). Computed without the difference, as the
    norm of the strictly upper part of A's Schur form. On a CPU only, where JAX has that.

    Args:
        matrix: A ``[*batch, n, n]``.

    Returns:
        ``[*batch]``.

    >>> departure_from_normality(jnp.array([[0.5, 3.0], [0.0, 0.5]])).tolist()
    3.0
    """
    upper = jnp.triu(decompositions.schur(matrix), 1)
    return jnp.sqrt(jnp.sum(jnp.abs(upper) ** 2, axis=(-2, -1)))
