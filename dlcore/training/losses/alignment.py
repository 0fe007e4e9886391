"""Connectionist temporal classification: labels without their times."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from dlcore.data.batch import get_field
from dlcore.ops.arrays import check_integers, expand_to_rank, to_array, to_real
from dlcore.ops.lengths import check_lengths, valid_steps
from dlcore.training import metrics
from dlcore.utils.checks import check_bool, check_integer

IMPOSSIBLE = -1e20
"""The logarithm that stands for that of 0: finite, so that gradients are, and below that of every alignment."""


def ctc(
    logits: jax.Array, batch: Mapping[str, jax.Array], *, blank: int = 0, zero_infinity: bool = False
) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Mean of ``-log p(labels | inputs)`` over all alignments of labels and frames (Graves et al. 2006), by optax.

    An alignment gives each frame a label or the blank; equal neighbors are one label unless a blank lies between them.
    A row is impossible if its labels do not fit into its frames, or if a class that they need has the logit -inf. Its
    cost is infinite, or 0 with ``zero_infinity``, as that of ``torch.nn.functional.ctc_loss``. The mean is over rows;
    torch's ``reduction="mean"`` divides each cost by the number of labels before.

    Args:
        logits: ``[B, T, C]``, scores of each frame before the softmax.
        batch: has ``labels [B, N]``, integers in [0, C) other than the blank, and may have ``label_lengths [B]``, the
            number of labels of each row (all N if it is missing; they may be 0), and ``lengths [B]``, the number of its
            frames. If the logits have fewer frames than ``inputs``, as after a strided convolution, pass
            ``{**batch, "inputs": logits, "lengths": frames}``. ``mask [B]`` says which rows count; floats are weights.
            A label that counts and is the blank or outside of [0, C) makes the loss NaN.
        blank: the class of the blank.
        zero_infinity: True to leave the cost of impossible rows out of the sum. They still count in the mean.

    Returns:
        The scalar loss, which is the weighted mean over all rows that count (0 if none does), and a dict of the metrics
        ``loss`` and ``impossible``, the fraction of impossible rows.

    Raises:
        TypeError: logits or labels are not arrays of numbers, or labels or lengths are not integers.
        ValueError: the batch has no labels, the shapes of logits, labels, mask and lengths do not match, a length is
            out of its bounds, or the blank is no class.

    >>> batch = {"labels": jnp.array([[1, 1]]), "label_lengths": jnp.array([1])}
    >>> round(float(ctc(jnp.zeros((1, 2, 2)), batch)[0]), 4)  # 3 of 4 paths: 11, 1_ and _1
    0.2877
    """
    check_bool("zero_infinity", zero_infinity)
    logits = to_real("logits", logits)
    labels = check_integers("labels", to_array("labels", get_field(batch, "labels")))
    if logits.ndim != 3 or labels.ndim != 2 or len(logits) != len(labels) or not logits.shape[-1]:
        raise ValueError(
            f"logits: got {logits.shape} for labels of shape {labels.shape}, expected [B, T, C] and [B, N]"
        )
    check_integer("blank", blank, 0, logits.shape[-1] - 1)
    weights = metrics.expand_mask(batch["mask"], labels.shape[:1]) if _has(batch, "mask") else None
    counted = jnp.ones(len(labels), bool) if weights is None else weights != 0
    frames = metrics.place_weights({**batch, "mask": None}, logits.shape[:2]) & counted[:, None]
    count = batch["label_lengths"] if _has(batch, "label_lengths") else jnp.full(len(labels), labels.shape[1])
    count = check_lengths(to_array("label_lengths", count), labels.shape, name="label_lengths")
    spelled = valid_steps(count, labels.shape[1])
    # The mask comes before the softmax: the gradient through the softmax of NaN is NaN even if the loss is masked.
    costs = _costs(jnp.where(expand_to_rank(frames, 3), logits, 0), frames, labels, spelled, blank)
    impossible = costs > -IMPOSSIBLE / 10
    costs = jnp.where(impossible, 0 if zero_infinity else jnp.inf, costs)
    known = (labels >= 0) & (labels < logits.shape[-1]) & (labels != blank)
    mean = metrics.Average.of(jnp.where((known | ~spelled).all(axis=1), costs, jnp.nan), weights)
    return mean.value(), {"loss": mean, "impossible": metrics.Average.of(impossible, weights)}


def _has(batch: Mapping[str, jax.Array], name: str) -> bool:
    return batch.get(name) is not None


def _costs(
    logits: jax.Array, frames: jax.Array, labels: jax.Array, spelled: jax.Array, blank: int
) -> jax.Array:
    """optax's cost ``[B]`` of each row, for the frames ``[B, T]`` and the labels ``[B, N]`` that are True."""
    rows = len(labels)  # optax needs a frame and a label; these do not count
    if not logits.shape[1]:
        logits, frames = jnp.zeros((rows, 1, logits.shape[2]), logits.dtype), jnp.zeros((rows, 1), bool)
    if not labels.shape[1]:
        labels, spelled = jnp.zeros((rows, 1), labels.dtype), jnp.zeros((rows, 1), bool)
    # A logit of -inf would be 0 * inf = NaN in optax's products, which also lose digits in the default precision.
    logits = jnp.where(jnp.isneginf(logits), IMPOSSIBLE, logits)
    with jax.default_matmul_precision("highest"):
        return optax.ctc_loss(
            logits,
            (~frames).astype(logits.dtype),
            labels,
            (~spelled).astype(logits.dtype),
            blank_id=blank,
            log_epsilon=IMPOSSIBLE,
        )
