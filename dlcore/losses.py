"""Losses in the form that ``Experiment.from_flax`` takes: ``loss(outputs, batch) -> loss, metrics``."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from dlcore import metrics


def classification(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the softmax, ``L = -sum_c p_c log softmax(logits)_c``, and the accuracy.

    Args:
        logits: ``[B, C]``, before the softmax that turns them into the lecture's final probabilities.
        batch: ``labels [B]`` as integers in [0, C); rows where ``mask [B]`` is False do not count.
            A label outside of it, in a row that counts, makes the loss NaN, which is not overlooked.
        label_smoothing: the weight that the target ``p`` gives to the uniform distribution. The metric
            ``loss`` has the smoothing too, so that it is the quantity that is minimised.

    Returns:
        The scalar loss over the valid rows, and the metrics ``loss`` and ``accuracy``.

    Raises:
        ValueError: logits and labels do not fit each other.

    >>> batch = {"labels": jnp.array([0, 1])}
    >>> loss, measured = classification(jnp.array([[9.0, 0.0], [9.0, 0.0]]), batch)
    >>> float(measured["accuracy"].value())
    0.5
    """
    labels, mask = batch["labels"], batch.get("mask")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits: got {logits.shape} for labels of shape {labels.shape}, expected [B, C] and [B]; "
            "flatten or pool the model's output to one row of class scores an example"
        )
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))  # whatever the model computes in
    target = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    costs = optax.softmax_cross_entropy(logits, target)
    known = (labels >= 0) & (labels < logits.shape[-1])
    cross_entropy = metrics.Average.of(jnp.where(known, costs, jnp.nan), mask)
    return cross_entropy.value(), {
        "loss": cross_entropy,
        "accuracy": metrics.accuracy(logits, labels, mask),
    }
