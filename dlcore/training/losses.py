"""Losses in the form that ``Experiment.from_flax`` takes: ``loss(outputs, batch) -> loss, metrics``.

They count valid places only: rows and places by the batch's ``mask``, steps by its ``lengths``, see
`metrics.place_weights`. What does not count may hold anything, NaN included, and has the gradient 0.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlcore.data.batch import get_field
from dlcore.ops.arrays import expand_to_rank, to_labels, to_real
from dlcore.training import metrics
from dlcore.utils.checks import check_number


def classification(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the softmax, ``L = -sum_c p_c log softmax(logits)_c``, and the accuracy.

    A logit of -inf rules a class out: its probability is 0, also in the target ``p``. If the label itself is ruled out,
    the loss is infinite.

    Args:
        logits: ``[B, C]``, the class scores before the softmax; or ``[B, ..., C]``, for instance scores of every
            time step of a sequence.
        batch: has ``labels [B, ...]`` in [0, C), of any integer type. ``mask`` and ``lengths`` say which labels count,
            see `metrics.place_weights`. A label outside [0, C) that counts makes the loss NaN.
        label_smoothing: from 0 to 1, the weight of the uniform distribution over the classes that are not ruled out in
            the target ``p``. The metric ``loss`` includes the smoothing, so it is the quantity that training minimizes.

    Returns:
        The scalar loss, which is the weighted mean over all labels that count (0 if none does), and a dict of the
        metrics ``loss`` and ``accuracy``.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or the labels are not integers.
        ValueError: the batch has no labels, or the shapes of logits, labels, mask and lengths do not match; or the
            smoothing is out of its bounds.

    >>> batch = {"labels": jnp.array([0, 1])}
    >>> loss, measured = classification(jnp.array([[9.0, 0.0], [9.0, 0.0]]), batch)
    >>> float(measured["accuracy"].value())
    0.5
    """
    if not isinstance(label_smoothing, jax.core.Tracer):
        check_number("label_smoothing", label_smoothing, "[0, 1]")
    logits = to_real("logits", logits)
    labels = to_labels(logits, get_field(batch, "labels"))
    weights = metrics.place_weights(batch, labels.shape)
    # The mask comes before the softmax: the gradient through the softmax of NaN is NaN even if the loss is masked.
    counted = jnp.where(expand_to_rank(weights != 0, logits.ndim), logits, 0)
    known = (labels >= 0) & (labels < logits.shape[-1])
    costs = jnp.where(known, _cross_entropy(counted, labels, label_smoothing), jnp.nan)
    mean = metrics.Average.of(costs, weights)
    return mean.value(), {"loss": mean, "accuracy": metrics.accuracy(logits, labels, weights)}


def _cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float) -> jax.Array:
    """The cross-entropy of each label ``[B, ...]``, in which a class with the target 0 adds nothing."""
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    possible = (logits > -jnp.inf).astype(logits.dtype)
    uniform = possible / possible.sum(axis=-1, keepdims=True)
    target = (1 - label_smoothing) * one_hot + label_smoothing * uniform
    return -(target * jnp.where(target > 0, jax.nn.log_softmax(logits), 0)).sum(axis=-1)


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
