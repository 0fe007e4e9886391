"""The loss of contours: their concordance correlation coefficient."""

from collections.abc import Mapping

import jax

from dlcore.data.batch import get_field
from dlcore.ops import concordance as formula
from dlcore.ops.arrays import to_real
from dlcore.training import metrics


def concordance(
    outputs: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """``L = mean over k of 1 - CCC_k``, the concordance correlation coefficient of each output over the whole batch.

    The loss of Trigeorgis et al. 2016. See `metrics.CCC` for the coefficient. The loss of a batch is no mean over its
    rows, so batches that are cut in another way have other losses. The metrics are sums, and an evaluation has
    the coefficient of all its batches as one. The gradient is finite, also that of constant outputs.

    Args:
        outputs: y, ``[B, T, K]``.
        batch: has t as ``targets``, of the same shape. ``lengths`` say how many steps of each row count, and ``mask``
            which rows, see `metrics.place_weights`.

    Returns:
        The scalar loss, 0 to 2 (1 if nothing counts), and a dict of the metrics ``loss`` and ``ccc``.

    Raises:
        TypeError: outputs or targets are not arrays of real numbers.
        ValueError: the batch has no targets, their shape differs from that of the outputs, or mask or lengths do not
            match.

    >>> import jax.numpy as jnp
    >>> batch = {"targets": jnp.array([[[0.0], [1.0], [5.0]]])}
    >>> loss, measured = concordance(batch["targets"] + 1, batch)
    >>> round(float(loss), 4), round(float(measured["ccc"].value()), 4)
    (0.0968, 0.9032)
    """
    outputs, targets = to_real("outputs", outputs), to_real("targets", get_field(batch, "targets"))
    weights = metrics.place_weights(batch, targets.shape)
    sums = metrics.CCC.of(outputs, targets, weights)
    contours = (values.reshape(-1, values.shape[-1]).T for values in (outputs, targets, weights))
    loss = 1 - formula.ccc(*contours).mean()
    return loss, {"loss": metrics.CCCLoss(*sums), "ccc": sums}
