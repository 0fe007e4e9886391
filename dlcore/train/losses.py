"""Losses in the form that ``Experiment.from_flax`` takes: ``loss(outputs, batch) -> loss, metrics``."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from dlcore.train import metrics


def classification(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the softmax, ``L = -sum_c p_c log softmax(logits)_c``, and the accuracy.

    Args:
        logits: ``[B, C]``, before the softmax that turns them into the lecture's final probabilities; or
            ``[B, ..., C]``, for instance of every step of a sequence.
        batch: ``labels [B, ...]`` as integers in [0, C); rows where ``mask [B]`` is False do not count, nor do
            labels where a mask of their own shape is.
            A label outside of it, in a row that counts, makes the loss NaN, which is not overlooked.
        label_smoothing: the weight that the target ``p`` gives to the uniform distribution. The metric
            ``loss`` has the smoothing too, so that it is the quantity that is minimized.

    Returns:
        The scalar loss, the mean over all valid labels, and the metrics ``loss`` and ``accuracy``.

    Raises:
        ValueError: logits and labels do not fit each other.

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
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))  # whatever the model computes in
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
        batch: t as ``targets [B, ...]``; rows where ``mask [B]`` is False do not count.

    Returns:
        The scalar loss over all numbers of the valid rows, and the metrics ``loss`` and ``mean_squared_error``.

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
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))  # whatever the model computes in
    valid = metrics.expand_mask(batch.get("mask", jnp.ones(len(outputs), bool)), outputs.shape)
    # Masked before it is squared: the derivative of a NaN's square is NaN even where nothing comes of it.
    error = metrics.Average.of(jnp.where(valid, outputs - targets, 0) ** 2, valid)
    return error.value(), {"loss": error, "mean_squared_error": error}
