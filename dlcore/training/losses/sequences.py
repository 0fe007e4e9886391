"""The cross-entropy of label sequences that a decoder predicts, whose lengths are not those of the inputs."""

from collections.abc import Mapping
from typing import Any

import jax

from dlcore.data.batch import get_field
from dlcore.ops.arrays import check_integers, to_array
from dlcore.ops.lengths import check_lengths, valid_steps
from dlcore.training import metrics
from dlcore.training.losses.softmax import classification
from dlcore.training.metrics.places import mask_or_ones


def sequences(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, label_smoothing: float = 0.0
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean cross-entropy of the tokens of label sequences, ``-log p(label_t | labels before t, inputs)``.

    Args:
        logits: ``[B, N, V]``, the scores of each place's token, given the labels before it (teacher forcing).
        batch: has ``labels [B, N]``, integers in [0, V), and ``label_lengths [B]``, the number of labels of each row
            that count, such as those up to the end token. ``lengths`` are those of the inputs and are not used.
            ``mask [B]`` or ``[B, N]`` says which rows or places count; floats are weights.
        label_smoothing: as in `classification`.

    Returns:
        The scalar loss, which is the weighted mean over all labels that count (0 if none does), and a dict of the
        metrics ``loss``, ``accuracy`` and ``perplexity``. The perplexity is without the smoothing.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or labels or lengths are not integers.
        ValueError: the batch lacks a field, a length is out of its bounds, or the shapes do not match.

    >>> import jax.numpy as jnp
    >>> batch = {"labels": jnp.array([[1, 0], [0, 1]]), "label_lengths": jnp.array([2, 1])}
    >>> loss, measured = sequences(jnp.zeros((2, 2, 2)), batch)
    >>> round(float(measured["perplexity"].value()), 3), float(measured["loss"].weight)
    (2.0, 3.0)
    """
    labels = check_integers("labels", to_array("labels", get_field(batch, "labels")))
    if labels.ndim != 2:
        raise ValueError(f"labels: got shape {labels.shape}, expected [B, N]")
    lengths = to_array("label_lengths", get_field(batch, "label_lengths"))
    spelled = valid_steps(check_lengths(lengths, labels.shape, name="label_lengths"), labels.shape[1])
    counted = {"labels": labels, "mask": mask_or_ones(batch.get("mask"), labels.shape) * spelled}
    loss, measured = classification(logits, counted, label_smoothing=label_smoothing)
    plain: Any = measured["loss"] if label_smoothing == 0 else classification(logits, counted)[1]["loss"]
    return loss, {**measured, "perplexity": metrics.Perplexity(*plain)}
