"""The cross-entropy of the softmax: one class out of several."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlcore.data.batch import get_field
from dlcore.ops.arrays import expand_to_rank, to_labels, to_real
from dlcore.training import metrics
from dlcore.training.metrics.places import check_weights
from dlcore.utils.checks import check_integer, check_number


def classification(
    logits: jax.Array,
    batch: Mapping[str, jax.Array],
    *,
    label_smoothing: float = 0.0,
    class_weights: jax.Array | None = None,
    ignore_index: int | None = None,
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the softmax, ``L = -sum_c p_c log softmax(logits)_c``, and the accuracy.

    A logit of -inf rules a class out: its probability is 0, also in the target ``p``. If the label itself is ruled out,
    the loss is infinite.

    Args:
        logits: ``[B, C]``, the class scores before the softmax; or ``[B, ..., C]``, for instance scores of every
            time step of a sequence.
        batch: has ``labels [B, ...]`` in [0, C), of any integer type. ``mask`` and ``lengths`` say which labels count,
            see `metrics.place_weights`; a mask of floats weights examples. A label outside [0, C) that counts makes the
            loss NaN.
        label_smoothing: from 0 to 1, the weight of the uniform distribution over the classes that are not ruled out in
            the target ``p``. The metric ``loss`` includes the smoothing, so it is the quantity that training minimizes.
        class_weights: w ``[C]``, finite and at least 0. Each term of L is multiplied by ``w_c``, and the mean divides
            by the sum of the ``w`` of the labels, as torch's ``CrossEntropyLoss(weight=w)`` does. A label whose class
            has the weight 0 does not count; torch adds its smoothed part. The accuracy has no class weights.
        ignore_index: labels equal to it do not count, such as torch's -100; None: none is left out.

    Returns:
        The scalar loss, which is the weighted mean over all labels that count (0 if none does), and a dict of the
        metrics ``loss`` and ``accuracy``.

    Raises:
        TypeError: logits, labels or class weights are not arrays of numbers, or the labels or ``ignore_index`` are not
            integers.
        ValueError: the batch has no labels, or the shapes of logits, labels, mask, lengths and class weights do not
            match; or the smoothing or a class weight is out of its bounds.

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
    if ignore_index is not None:
        ignored = labels == check_integer("ignore_index", ignore_index, -(2**31), 2**31 - 1)
        weights = jnp.where(ignored, jnp.zeros((), weights.dtype), weights)
    # The mask comes before the softmax: the gradient through the softmax of NaN is NaN even if the loss is masked.
    counted = jnp.where(expand_to_rank(weights != 0, logits.ndim), logits, 0)
    known = (labels >= 0) & (labels < logits.shape[-1])
    target = _target(counted, labels, label_smoothing)
    label_weights = weights
    if class_weights is not None:
        factors = _class_weights(class_weights, logits.shape[-1])
        of_label = jnp.where(known, factors.at[labels].get(mode="clip"), 1)
        target *= factors / expand_to_rank(of_label + (of_label == 0), logits.ndim)
        label_weights = weights * of_label
    mean = metrics.Average.of(jnp.where(known, _cross_entropy(counted, target), jnp.nan), label_weights)
    return mean.value(), {"loss": mean, "accuracy": metrics.accuracy(logits, labels, weights)}


def _class_weights(class_weights: jax.Array, count: int) -> jax.Array:
    weights = check_weights("class_weights", class_weights)
    if weights.shape != (count,):
        raise ValueError(
            f"class_weights: got shape {weights.shape} for {count} classes, expected ({count},), one a class"
        )
    return weights


def _target(logits: jax.Array, labels: jax.Array, label_smoothing: float) -> jax.Array:
    """The distribution ``p [B, ..., C]`` of the smoothed labels."""
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    possible = (logits > -jnp.inf).astype(logits.dtype)
    uniform = possible / possible.sum(axis=-1, keepdims=True)
    return (1 - label_smoothing) * one_hot + label_smoothing * uniform


def _cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The cross-entropy ``[B, ...]`` of each target, in which a class with the target 0 adds nothing."""
    return -(target * jnp.where(target > 0, jax.nn.log_softmax(logits), 0)).sum(axis=-1)
