"""Lin's concordance correlation coefficient as sums over batches: of all recordings as one, and of each."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import to_array, to_real
from dlcore.ops.concordance import concordance
from dlcore.training.metrics.bins import sum_by_place
from dlcore.training.metrics.places import mask_or_ones
from dlcore.utils.checks import check_integer, check_number

ROUNDING = 2.0**-22
"""The part of a mean square that rounding to float32 may hide."""


class CCC(NamedTuple):
    """The concordance correlation coefficient, all recordings as one: the mean over K outputs.

    ``2 cov(y, t) / (var(y) + var(t) + (mean(y) - mean(t))^2)`` (Lin 1989). All moments divide by the number of values,
    so it is 1 for y = t. It is 0 for constant outputs or targets, and if nothing counts.

    `RecordingCCC` has the same sums, and its value is the mean over the recordings' own coefficients. The two differ: a
    model that knows only the mean of each recording may have a high coefficient of all as one, and has 0 for each.

    Attributes:
        weight: sum of the weights, ``[R, K]`` for R recordings, as all sums.
        outputs: sum of weight × (y - center).
        targets: sum of weight × (t - center).
        output_squares: sum of weight × (y - center)^2.
        target_squares: sum of weight × (t - center)^2.
        products: sum of weight × (y - center) (t - center).

    >>> contour = jnp.array([[[0.0], [1.0], [5.0]]])
    >>> float(CCC.of(contour, contour).value()), round(float(CCC.of(contour + 1, contour).value()), 4)
    (1.0, 0.9032)
    """

    weight: jax.Array
    outputs: jax.Array
    targets: jax.Array
    output_squares: jax.Array
    target_squares: jax.Array
    products: jax.Array

    @classmethod
    def of(
        cls,
        outputs: jax.Array,
        targets: jax.Array,
        mask: jax.Array | None = None,
        *,
        recordings: jax.Array | None = None,
        count: int = 1,
        center: float = 0.0,
    ) -> Self:
        """The sums of a batch; float64 if outputs or targets are, else float32.

        Args:
            outputs: y, ``[B, T, K]``.
            targets: t, of the same shape.
            mask: booleans or weights, see `expand_mask`, for instance `place_weights` of a batch; None: all count.
            recordings: integers ``[B]`` from 0, the recording that each row is a part of; None: all are of one.
            count: R, the number of recordings.
            center: a number near the means of outputs and targets, see `R2.of`.

        Raises:
            TypeError: outputs or targets are not arrays of real numbers, the recordings are not integers, ``count`` is
                not an integer, or ``center`` is not a number.
            ValueError: the shapes do not match, ``count`` is below 1, or ``center`` is not finite.

        The sums are NaN if a recording is not from 0 to R - 1.
        """
        outputs, targets = to_real("outputs", outputs), to_real("targets", targets)
        check_integer("count", count)
        center = check_number("center", center)
        if outputs.shape != targets.shape or outputs.ndim != 3:
            raise ValueError(
                f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape [B, T, K]"
            )
        weights = mask_or_ones(mask, targets.shape)
        places = _places(recordings, len(targets))
        y, t = (jnp.where(weights != 0, values - center, 0) for values in (outputs, targets))
        rows = ((weights * values).sum(axis=1) for values in (jnp.ones_like(t), y, t, y**2, t**2, y * t))
        return cls(*(_sum_by_recording(values, places, count) for values in rows))

    def value(self) -> np.float64:
        """The coefficient, on the host."""
        return np.float64(_coefficients([np.asarray(leaf, np.float64).sum(axis=0) for leaf in self]).mean())


class RecordingCCC(CCC):
    """The mean over recordings of each one's concordance correlation coefficient, and over K outputs.

    It has the sums of a `CCC`, so ``RecordingCCC(*metrics["ccc"])`` reads them. Recordings without a value that counts
    are left out.

    >>> contour = jnp.array([[[0.0], [1.0]], [[5.0], [6.0]]])  # two recordings
    >>> means = jnp.array([[[0.5], [0.5]], [[5.5], [5.5]]])
    >>> sums = CCC.of(means, contour, recordings=jnp.array([0, 1]), count=2)
    >>> round(float(sums.value()), 3), float(RecordingCCC(*sums).value())
    (0.98, 0.0)
    """

    def value(self) -> np.float64:
        """The mean, on the host; 0 if there is none."""
        sums = [np.asarray(leaf, np.float64) for leaf in self]
        return np.float64(_coefficients(sums).sum() / max((sums[0] != 0).sum(), 1))


class CCCLoss(CCC):
    """``1 - CCC``, with the sums of a `CCC`: the loss of an evaluation, which is no mean over batches."""

    def value(self) -> np.float64:
        """The difference, from 0 to 2, on the host."""
        return 1 - super().value()


def _places(recordings: Any, rows: int) -> jax.Array:
    """The recording of each row, integers ``[B]``."""
    if recordings is None:
        return jnp.zeros(rows, jnp.int32)
    places = to_array("recordings", recordings)
    if not jnp.issubdtype(places.dtype, jnp.integer):
        raise TypeError(f"recordings: got {places.dtype}, expected integers [B]")
    if places.shape != (rows,):
        raise ValueError(f"recordings: got shape {places.shape} for {rows} rows, expected ({rows},)")
    return places


def _sum_by_recording(values: jax.Array, places: jax.Array, count: int) -> jax.Array:
    """Values ``[B, K]`` summed over the rows of each recording, ``[R, K]``."""
    outputs = jnp.broadcast_to(jnp.arange(values.shape[1]), values.shape)
    return sum_by_place(
        (jnp.broadcast_to(places[:, None], values.shape), outputs), values, (count, values.shape[1])
    )


def _coefficients(sums: Sequence[np.ndarray]) -> np.ndarray:
    """The coefficients of some sums, in the order of the attributes of `CCC`."""
    weight = sums[0] + (sums[0] == 0)
    outputs, targets, output_squares, target_squares, products = (part / weight for part in sums[1:])
    output_variance, target_variance = (
        np.where(squares - mean**2 <= ROUNDING * squares, 0, squares - mean**2)
        for squares, mean in ((output_squares, outputs), (target_squares, targets))
    )
    varied = (output_variance > 0) & (target_variance > 0)
    covariance = np.where(varied, products - outputs * targets, 0)
    return np.asarray(concordance(covariance, output_variance, target_variance, outputs - targets))
