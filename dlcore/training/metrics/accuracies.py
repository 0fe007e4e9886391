"""Fractions of labels that are predicted right."""

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import to_binary, to_labels, to_real
from dlcore.training.metrics.averages import Average
from dlcore.utils.checks import check_integer


def accuracy(logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Average:
    """An `Average`: the fraction of the labels that are the index of the largest logit.

    Args:
        logits: ``[B, ..., C]``.
        labels: integers ``[B, ...]`` of any integer type.
        mask: as in `Average.of`, for instance `place_weights` of a batch; it is False for labels that do not count.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or the labels are not integers.
        ValueError: the shapes of logits, labels and mask do not match.
    """
    logits = to_real("logits", logits)
    labels = to_labels(logits, labels)
    return Average.of(jnp.argmax(logits, axis=-1) == labels, mask)


def top_k_accuracy(
    logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None, *, k: int = 5
) -> Average:
    """An `Average`: the fraction of the labels that are among the indices of the k largest logits.

    Among equal logits the smaller index comes first, so that k = 1 is the `accuracy`.

    Args:
        logits: ``[B, ..., C]``.
        labels: integers ``[B, ...]`` of any integer type.
        mask: as in `Average.of`.
        k: from 1 to C.

    Raises:
        TypeError, ValueError: as in `accuracy`; or k is not an integer from 1 to C.

    >>> float(top_k_accuracy(jnp.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), jnp.array([2, 1]), k=2).value())
    0.5
    """
    logits = to_real("logits", logits)
    labels = to_labels(logits, labels)
    _, largest = jax.lax.top_k(logits, check_integer("k", k, 1, logits.shape[-1]))
    return Average.of((largest == labels[..., None]).any(axis=-1), mask)


def binary_accuracy(logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Average:
    """An `Average`: the fraction of the labels 0 and 1 that the sign of the logit tells; a logit of 0 predicts 0.

    Args:
        logits: ``[B, ...]``, one logit for each label.
        labels: integers or booleans ``[B, ...]``. A label other than 0 and 1 counts as wrong.
        mask: as in `Average.of`.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or the labels are not integers.
        ValueError: the shapes of logits, labels and mask do not match.

    >>> float(binary_accuracy(jnp.array([2.0, -1.0]), jnp.array([1, 1])).value())
    0.5
    """
    logits = to_real("logits", logits)
    labels = to_binary("logits", logits, labels)
    return Average.of((logits > 0).astype(labels.dtype) == labels, mask)
