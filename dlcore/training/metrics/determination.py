"""The coefficient of determination as sums over batches."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import to_real
from dlcore.training.metrics.places import mask_or_ones
from dlcore.utils.checks import check_number

ROUNDING = 2.0**-22
"""The part of a sum of squares that rounding to float32 may hide."""


class R2(NamedTuple):
    """The coefficient of determination, ``1 - sum (t - y)^2 / sum (t - mean t)^2``, over all entries together.

    For outputs ``[B]`` it equals ``sklearn.metrics.r2_score``. NaN if nothing counts; for constant targets it is 1 if
    there is no error and 0 otherwise. Targets count as constant if rounding hides their variance, see ``center``.

    Attributes:
        errors: sum of weight × (t - y)^2, a scalar.
        weight: sum of the weights, a scalar.
        total: sum of weight × (t - center), a scalar.
        squares: sum of weight × (t - center)^2, a scalar.

    >>> float(R2.of(jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0])).value())
    0.5
    """

    errors: jax.Array
    weight: jax.Array
    total: jax.Array
    squares: jax.Array

    @classmethod
    def of(
        cls, outputs: jax.Array, targets: jax.Array, mask: jax.Array | None = None, *, center: float = 0.0
    ) -> Self:
        """The sums of a batch; float64 if an argument is, else float32.

        Args:
            outputs: y, ``[B, ...]``.
            targets: t, of the same shape.
            mask: booleans or weights, see `expand_mask`, for instance `place_weights` of a batch; None: all count.
            center: a number near the mean of all targets. The sums are those of float32: with the distance d of the
                mean from the center, in standard deviations, the variance has a relative error of about 1e-7 (1 + d^2),
                and nothing is left of it above d = 2000.

        Raises:
            TypeError: outputs or targets are not arrays of real numbers, or ``center`` is not a number.
            ValueError: the shapes of outputs, targets and mask do not match, or ``center`` is not finite.
        """
        center = check_number("center", center)
        outputs, targets = to_real("outputs", outputs), to_real("targets", targets)
        if outputs.shape != targets.shape or not outputs.ndim:
            raise ValueError(
                f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape [B, ...]"
            )
        weights = mask_or_ones(mask, targets.shape)
        errors, shifted = (
            jnp.where(weights != 0, values, 0) for values in (targets - outputs, targets - center)
        )
        sums = (
            (values * weights).sum() for values in (errors**2, jnp.ones_like(shifted), shifted, shifted**2)
        )
        return cls(*sums)

    def value(self) -> np.float64:
        """The coefficient, at most 1, on the host."""
        errors, weight, total, squares = (np.float64(leaf) for leaf in self)
        with np.errstate(divide="ignore", invalid="ignore"):
            variation = squares - total**2 / weight
        if variation <= ROUNDING * squares and not np.isnan(errors):
            return np.float64(errors == 0)
        return 1 - errors / variation
