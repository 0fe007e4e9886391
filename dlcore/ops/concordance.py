"""Lin's concordance correlation coefficient of contours."""

from typing import Any

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import to_array, to_real

ROUNDING = 2.0**-20
"""The part of a mean that rounding to float32 may add to each value of a contour."""


def ccc(outputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The concordance correlation coefficient (Lin 1989), how near pairs (y, t) are to the line y = t, -1 to 1.

    ``2 cov(y, t) / (var(y) + var(t) + (mean(y) - mean(t))^2)``, each moment with the same weights. So it is 1 for
    y = t alone. A wrong scale or offset lowers it, which a correlation does not see. It is 0 if the outputs or the
    targets are constant; its gradient is finite everywhere.

    Args:
        outputs: y, ``[..., N]``.
        targets: t, ``[..., N]``.
        weights: ``[..., N]``, booleans or numbers of at least 0; values with the weight 0 may be NaN. None: all are 1.

    Returns:
        The coefficients ``[...]``.

    Raises:
        TypeError: an argument is not an array of real numbers.
        ValueError: the shapes differ, or are those of scalars.

    >>> float(ccc(jnp.array([0.0, 2.0]), jnp.array([1.0, 3.0])))  # cov = var = 1, and the means differ by 1
    0.6666666865348816
    """
    outputs, targets = to_real("outputs", outputs), to_real("targets", targets)
    if outputs.shape != targets.shape or not outputs.ndim:
        raise ValueError(
            f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape [..., N]"
        )
    weights = jnp.ones(targets.shape, bool) if weights is None else to_array("weights", weights)
    if weights.shape != targets.shape:
        raise ValueError(
            f"weights: got shape {weights.shape} for targets of shape {targets.shape}, expected the same"
        )
    outputs, targets = (jnp.where(weights != 0, values, 0) for values in (outputs, targets))
    total = weights.sum(axis=-1, keepdims=True)
    mean = lambda values: (weights * values).sum(axis=-1, keepdims=True) / jnp.maximum(total, total == 0)
    means = mean(outputs), mean(targets)
    outputs, targets = outputs - means[0], targets - means[1]
    variances = mean(outputs**2), mean(targets**2)
    varied = sum(variances) > ROUNDING**2 * sum(value**2 for value in means)
    covariance = jnp.where(varied, mean(outputs * targets), 0)
    return concordance(covariance, *variances, means[0] - means[1])[..., 0]


def concordance(covariance: Any, output_variance: Any, target_variance: Any, distance: Any) -> Any:
    """The coefficient from the moments of outputs and targets; 0 if all are 0.

    Args:
        covariance: an array, of JAX or of NumPy, as the others are.
        output_variance: as ``covariance``.
        target_variance: as ``covariance``.
        distance: the difference of the means.
    """
    spread = output_variance + target_variance + distance**2
    return 2 * covariance / (spread + (spread == 0))
