"""The mean squared error."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlcore.data.batch import get_field
from dlcore.ops.arrays import to_real
from dlcore.training import metrics


def regression(
    outputs: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean squared error, ``L = mean (y - t)^2``.

    Args:
        outputs: y, ``[B, ...]``.
        batch: has t as ``targets [B, ...]``. ``mask`` and ``lengths`` say which entries count, see
            `metrics.place_weights`.

    Returns:
        The scalar loss, which is the weighted mean over all entries that count (0 if none does), and a dict of the
        metrics ``loss`` and ``mean_squared_error``, which are equal.

    Raises:
        TypeError: outputs or targets are not arrays of real numbers.
        ValueError: the batch has no targets; outputs and targets differ in shape (``[B, 1]`` and ``[B]`` would give
            B x B errors); or mask or lengths do not match.

    >>> loss, measured = regression(jnp.array([1.0, 4.0]), {"targets": jnp.array([1.0, 2.0])})
    >>> float(loss), sorted(measured)
    (2.0, ['loss', 'mean_squared_error'])
    """
    outputs, targets = to_real("outputs", outputs), to_real("targets", get_field(batch, "targets"))
    if outputs.shape != targets.shape or not outputs.ndim:
        raise ValueError(
            f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape [B, ...]; "
            "outputs[..., 0] drops a last dimension of 1"
        )
    weights = metrics.place_weights(batch, outputs.shape)
    # The mask comes before the square: the gradient through the square of NaN is NaN even if the value is masked.
    error = metrics.Average.of(jnp.where(weights != 0, outputs - targets, 0) ** 2, weights)
    return error.value(), {"loss": error, "mean_squared_error": error}
