"""The cross-entropy of the sigmoid: labels that are true or false, one for each logit."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.data.batch import get_field
from dlcore.ops.arrays import expand_to_rank, to_array, to_binary, to_real
from dlcore.training import metrics
from dlcore.training.metrics.places import check_weights
from dlcore.utils.checks import check_number


def binary(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, positive_weight: float = 1.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of labels 0 and 1 with one logit each, and the accuracy.

    ``L = -[w y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))]`` for the logit z and the label y, as torch's
    ``BCEWithLogitsLoss(pos_weight=w)``.

    Args:
        logits: z, ``[B, ...]``, one for each label. The output ``[B, 1]`` of a dense layer is ``logits[..., 0]``.
        batch: has y as ``labels [B, ...]``, integers 0 and 1 or booleans. ``mask`` and ``lengths`` say which labels
            count, see `metrics.place_weights`; a mask of floats weights examples. Another label that counts makes the
            loss NaN.
        positive_weight: w, finite and at least 0. The mean divides by the number of labels, whatever w is.

    Returns:
        The scalar loss, which is the weighted mean over all labels that count (0 if none does), and a dict of the
        metrics ``loss`` and ``accuracy``; see `metrics.binary_accuracy`.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or the labels are not integers.
        ValueError: the batch has no labels, the shapes of logits, labels, mask and lengths do not match, or the
            weight is out of its bounds.

    >>> loss, measured = binary(jnp.array([0.0, 3.0]), {"labels": jnp.array([0, 1])})
    >>> round(float(loss), 4), float(measured["accuracy"].value())
    (0.3709, 1.0)
    """
    weight = check_number("positive_weight", positive_weight, "[0, inf)")
    logits = to_real("logits", logits)
    labels = to_binary("logits", logits, get_field(batch, "labels"))
    weights = metrics.place_weights(batch, labels.shape)
    mean = metrics.Average.of(_costs(logits, labels, weights, weight), weights)
    return mean.value(), {"loss": mean, "accuracy": metrics.binary_accuracy(logits, labels, weights)}


def multi_label(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, positive_weight: float | jax.Array = 1.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of C classes of which any number is true, and the accuracy over all classes.

    The loss of each class is that of `binary`; the mean is over examples and classes, as torch's
    ``BCEWithLogitsLoss(pos_weight=w)``. Targets between 0 and 1 are probabilities.

    Args:
        logits: ``[B, ..., C]``.
        batch: has ``targets [B, ..., C]``, numbers from 0 to 1 or booleans. ``mask`` and ``lengths`` say which of them
            count: lengths leave out steps of ``[B, T, C]``, the last axis is never time, and a mask may have any of the
            first axes or all, as for classes that nobody labeled. Another target that counts makes the loss NaN.
        positive_weight: w, a number or ``[C]``, finite and at least 0.

    Returns:
        The scalar loss, which is the weighted mean over all targets that count (0 if none does), and a dict of the
        metrics ``loss`` and ``accuracy``, which counts a class as predicted if its logit is above 0, and as true if its
        target is above 0.5.

    Raises:
        TypeError: logits, targets or the weight are not real numbers.
        ValueError: the batch has no targets, the shapes of logits, targets, mask, lengths and weight do not match, or
            a weight is out of its bounds.

    >>> loss, measured = multi_label(jnp.array([[0.0, 3.0]]), {"targets": jnp.array([[0, 1]])})
    >>> round(float(loss), 4), float(measured["accuracy"].value())
    (0.3709, 1.0)
    """
    logits, targets = to_real("logits", logits), to_real("targets", get_field(batch, "targets"))
    if logits.ndim < 2 or targets.shape != logits.shape:
        raise ValueError(
            f"logits: got {logits.shape} for targets of shape {targets.shape}, expected the same shape [B, ..., C]"
        )
    weight = check_weights("positive_weight", to_real("positive_weight", positive_weight))
    if weight.shape not in ((), logits.shape[-1:]):
        raise ValueError(
            f"positive_weight: got shape {weight.shape}, expected a number or {logits.shape[-1:]}, one a class"
        )
    weights = _class_places(batch, targets.shape)
    mean = metrics.Average.of(_costs(logits, targets, weights, weight), weights)
    accuracy = metrics.Average.of((logits > 0) == (targets > 0.5), weights)
    return mean.value(), {"loss": mean, "accuracy": accuracy}


def _class_places(batch: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """The weights of values ``[B, ..., C]`` whose last axis holds classes and is no time."""
    mask = batch.get("mask")
    if mask is None or to_array("mask", mask).ndim < len(shape):
        rows = metrics.place_weights(batch, shape[:-1])
        return jnp.broadcast_to(expand_to_rank(rows, len(shape)), shape)
    counted = expand_to_rank(metrics.place_weights({**batch, "mask": None}, shape[:-1]), len(shape))
    weights = metrics.expand_mask(mask, shape)
    return jnp.where(counted, weights, jnp.zeros((), weights.dtype))


def _costs(
    logits: jax.Array, targets: jax.Array, weights: jax.Array, positive_weight: float | jax.Array
) -> jax.Array:
    """The cross-entropy of each logit; NaN for a target outside of 0 to 1."""
    # The mask comes before the sigmoid: the gradient through the sigmoid of NaN is NaN even if the loss is masked.
    logits, targets = jnp.where(weights != 0, logits, 0), jnp.where(weights != 0, targets, 0)
    weighted = targets * positive_weight
    positive = jnp.where(weighted > 0, weighted * jax.nn.softplus(-logits), 0)
    negative = jnp.where(targets < 1, (1 - targets) * jax.nn.softplus(logits), 0)
    return jnp.where((targets >= 0) & (targets <= 1), positive + negative, jnp.nan)
