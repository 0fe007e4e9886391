"""Predicted and true classes, from logits or from predictions, and their weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import to_array, to_integers, to_labels, to_real
from dlcore.training.metrics.places import mask_or_ones
from dlcore.utils.checks import check_integer


class Classes(NamedTuple):
    """What was predicted, what is true, and how much it counts.

    Attributes:
        predicted: integers ``[B, ...]`` in [0, C), and -1 where the label or the prediction is outside.
        labels: integers ``[B, ...]`` in [0, C), and -1 in the same places.
        weights: booleans or floats ``[B, ...]``.
        classes: C.
    """

    predicted: jax.Array
    labels: jax.Array
    weights: jax.Array
    classes: int


def to_classes(predictions: Any, labels: Any, mask: Any, classes: int | None) -> Classes:
    """The checked classes of labels and predictions.

    Args:
        predictions: logits ``[B, ..., C]``, whose largest one is at the index of the predicted class; or predicted
            classes, integers ``[B, ...]``.
        labels: the true classes, integers ``[B, ...]``.
        mask: booleans or weights, see `places.expand_mask`; None: all labels count.
        classes: C, the number of classes, for predicted classes; None for logits.

    Raises:
        TypeError: the labels are not integers, or the predictions are integers and C is missing.
        ValueError: the shapes do not match, or C is below 1.
    """
    if classes is None:
        logits = to_real("predictions", predictions)
        if jnp.issubdtype(to_array("predictions", predictions).dtype, jnp.integer):
            raise TypeError(
                f"classes: got None for predictions of integers {logits.shape}, expected their number of classes; or "
                "logits [B, ..., C] of floats as predictions"
            )
        labels = to_labels(logits, labels)
        predicted, classes = jnp.argmax(logits, axis=-1), logits.shape[-1]
    else:
        classes = check_integer("classes", classes)
        predicted, labels = to_integers("predictions", predictions), to_integers("labels", labels)
        if predicted.shape != labels.shape or not labels.ndim:
            raise ValueError(
                f"predictions: got {predicted.shape} for labels of shape {labels.shape}, expected the same shape "
                "[B, ...]; logits need no classes"
            )
    inside = (labels >= 0) & (labels < classes) & (predicted >= 0) & (predicted < classes)
    predicted, labels = jnp.where(inside, predicted, -1), jnp.where(inside, labels, -1)
    return Classes(predicted, labels, mask_or_ones(mask, labels.shape), classes)
