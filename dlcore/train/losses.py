"""Losses in the form that ``Experiment.from_flax`` takes: ``loss(outputs, batch) -> loss, metrics``."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from dlcore.ops.arrays import at_least_float32
from dlcore.train import metrics


def classification(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the softmax, ``L = -sum_c p_c log softmax(logits)_c``, and the accuracy.

    Args:
        logits: ``[B, C]``, the class scores before the softmax; or ``[B, ..., C]``, for instance scores of every
            time step of a sequence.
        batch: has integer ``labels [B, ...]`` in [0, C). An optional boolean ``mask``, ``[B]`` or of the labels' shape,
            is False where a row or a label does not count. A label outside [0, C) that counts makes the loss NaN.
        label_smoothing: the weight of the uniform distribution in the target ``p``. The metric ``loss`` includes the
            smoothing, so it is the quantity that training minimizes.

    Returns:
        The scalar loss, which is the mean over all labels that count (0 if none does), and a dict of the metrics
        ``loss`` and ``accuracy``.

    Raises:
        ValueError: the shapes of logits and labels do not match.

    >>> batch = {"labels": jnp.array([0, 1])}
    >>> loss, measured = classification(jnp.array([[9.0, 0.0], [9.0, 0.0]]), batch)
    >>> float(measured["accuracy"].value())
    0.5
    """
    labels, mask = batch["labels"], batch.get("mask")
    if logits.ndim < 2 or labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"logits: got {logits.shape} for labels of shape {labels.shape}, expected [B, ..., C] and [B, ...]; "
            "flatten or pool the model's output to one row of class scores a label"
        )
    logits = at_least_float32(logits)
    target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    costs = optax.softmax_cross_entropy(logits, target)
    known = (labels >= 0) & (labels < logits.shape[-1])
    cross_entropy = metrics.Average.of(jnp.where(known, costs, jnp.nan), mask)
    return cross_entropy.value(), {
        "loss": cross_entropy,
        "accuracy": metrics.accuracy(logits, labels, mask),
    }


def regression(
    outputs: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean squared error, ``L = mean (y - t)^2``.

    Args:
        outputs: y, ``[B, ...]``.
        batch: has t as ``targets [B, ...]``. An optional boolean ``mask``, ``[B]`` or of the targets' shape, is False
            where a row or an entry does not count.

    Returns:
        The scalar loss, which is the mean over all entries that count (0 if none does), and a dict of the metrics
        ``loss`` and ``mean_squared_error``, which are equal.

    Raises:
        ValueError: outputs and targets differ in shape (``[B, 1]`` and ``[B]`` would give B x B errors).

    >>> loss, measured = regression(jnp.array([1.0, 4.0]), {"targets": jnp.array([1.0, 2.0])})
    >>> float(loss), sorted(measured)
    (2.0, ['loss', 'mean_squared_error'])
    """
    targets = batch["targets"]
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape; "
            "outputs[..., 0] drops a last dimension of 1"
        )
    outputs = at_least_float32(outputs)
    valid = metrics.expand_mask(batch.get("mask", jnp.ones(len(outputs), bool)), outputs.shape)
    # The mask comes before the square: the gradient through the square of NaN is NaN even if the value is masked.
    error = metrics.Average.of(jnp.where(valid, outputs - targets, 0) ** 2, valid)
    return error.value(), {"loss": error, "mean_squared_error": error}
