"""The area under the ROC curve as sums over batches: histograms of the scores of both classes."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import to_binary, to_real
from dlcore.training.metrics.bins import sum_by_place
from dlcore.training.metrics.places import mask_or_ones
from dlcore.utils.checks import check_integer

SCALE = 4.0


class AUC(NamedTuple):
    """The area under the ROC curve of a binary classifier, from histograms of its scores.

    It is the probability that a positive has a larger score than a negative (Hanley and McNeil 1982). Equal scores
    count half, as in ``sklearn.metrics.roc_auc_score``. Here all scores of one bin count as equal. So the exact area
    differs by at most half of the share of the pairs that lie in one bin, which `error_bound` gives; most differences
    are much smaller, since the errors of the pairs of a bin cancel. NaN if there are no positives or no negatives.

    The N bins have the same width in ``s / (4 + |s|)``, so that logits of every size fit. With 4096 bins they are
    0.002 wide at the logit 0 and 0.024 wide at 10.

    Attributes:
        positives: ``[N]``, the weights of the scores with the label 1 in each bin, from the smallest scores on.
        negatives: ``[N]``, those of the scores with the label 0.

    >>> area = AUC.of(np.array([2.0, 1.0, -1.0, 0.0]), np.array([1, 0, 0, 1]))
    >>> float(area.value()), float(area.error_bound())
    (0.75, 0.0)
    """

    positives: jax.Array
    negatives: jax.Array

    @classmethod
    def of(
        cls, scores: jax.Array, labels: jax.Array, mask: jax.Array | None = None, *, bins: int = 4096
    ) -> Self:
        """The histograms of a batch.

        Args:
            scores: ``[B, ...]``, one for each label. Logits are better than probabilities, which lie in fewer bins. If
                a score that counts is NaN, the area is NaN.
            labels: ``[B, ...]`` integers 0 and 1, or booleans. If another label counts, the area is NaN.
            mask: booleans or weights, see `expand_mask`, for instance `place_weights` of a batch; None: all labels
                count.
            bins: N, from 2 on.

        Raises:
            TypeError: scores or labels are not arrays of numbers, the labels are not integers, or ``bins`` is not one.
            ValueError: the shapes of scores, labels and mask do not match, or there are less than 2 bins.
        """
        bins = check_integer("bins", bins, 2)
        scores = to_real("scores", scores)
        labels = to_binary("scores", scores, labels)
        weights = mask_or_ones(mask, labels.shape)
        finite = jnp.clip(scores, -1e30, 1e30)
        share = (finite / (SCALE + jnp.abs(finite)) + 1) / 2
        place = jnp.clip(jnp.floor(share * bins), 0, bins - 1).astype(jnp.int32)
        # A place outside of the bins marks what has none, so that it makes all counts NaN.
        place = jnp.where(jnp.isnan(scores) | (labels < 0) | (labels > 1), -1, place)
        nothing = jnp.zeros((), weights.dtype)
        return cls(
            sum_by_place((place,), jnp.where(labels == 0, nothing, weights), (bins,)),
            sum_by_place((place,), jnp.where(labels == 1, nothing, weights), (bins,)),
        )

    def value(self) -> np.float64:
        """The area, from 0 to 1, on the host; NaN if there are no positives or no negatives."""
        positives, negatives = self._shares()
        below = np.cumsum(negatives) - negatives
        return (positives * (below + negatives / 2)).sum()

    def error_bound(self) -> np.float64:
        """The largest possible difference between the value and the exact area, on the host."""
        positives, negatives = self._shares()
        return (positives * negatives).sum() / 2

    def _shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The histograms, each divided by its sum."""
        histograms = (np.asarray(leaf, np.float64) for leaf in self)
        with np.errstate(invalid="ignore"):
            positives, negatives = (histogram / histogram.sum() for histogram in histograms)
        return positives, negatives
