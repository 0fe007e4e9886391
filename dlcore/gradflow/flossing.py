"""Gradient flossing: a term of the loss that keeps Lyapunov exponents near 0, and so gradients alive."""

import jax
import jax.numpy as jnp

from dlcore.gradflow.lyapunov import spectrum
from dlcore.gradflow.recurrence import Recurrence


def penalty(
    recurrence: Recurrence, exponents: int = 1, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """``1/k sum_i lambda_i^2`` of the first k exponents, the mean over rows (Engelken 2023, arXiv 2312.17306).

    The paper flosses some hundred steps before training and now and then within it. Differentiable; its gradient
    stores all T steps of the k directions. Where a step loses one of the k directions, as dead ReLUs and a kernel of 0
    do, an exponent is -inf, and the penalty is not finite.

    Args:
        recurrence: what is to keep its gradients. exponents: k, so many directions in which they shall last.
        warm_up, key: of `lyapunov.spectrum`.

    Returns:
        A scalar; rows without a step behind the warm-up do not count.

    Raises:
        ValueError, TypeError: as `lyapunov.spectrum`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((8, 1, 1)))
    >>> (penalty(halving) / jnp.log(2) ** 2).round(3).tolist()
    1.0
    """
    squares = spectrum(recurrence, exponents, warm_up, key=key) ** 2
    counted = ~jnp.isnan(squares)
    return jnp.where(counted, squares, 0).sum() / jnp.maximum(counted.sum(), 1)
