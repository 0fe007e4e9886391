"""The confusion matrix as a sum over batches."""

from typing import NamedTuple, Self

import jax
import numpy as np

from dlcore.training.metrics.bins import sum_by_place
from dlcore.training.metrics.classes import to_classes


class ConfusionMatrix(NamedTuple):
    """How often each true class (row) was predicted as each class (column), as ``sklearn.metrics.confusion_matrix``.

    The counts of a batch are exact. Training adds them in float32 with compensation: they are exact up to 2^24, and
    then off by one rounding. An evaluation adds them in float64, exact up to 2^53.

    Attributes:
        counts: ``[C, C]``, sums of the weights.

    >>> matrix = ConfusionMatrix.of(np.array([0, 1, 1]), np.array([0, 0, 1]), classes=2)
    >>> matrix.value().tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """

    counts: jax.Array

    @classmethod
    def of(
        cls,
        predictions: jax.Array,
        labels: jax.Array,
        mask: jax.Array | None = None,
        *,
        classes: int | None = None,
    ) -> Self:
        """The matrix of a batch.

        Args:
            predictions: logits ``[B, ..., C]``, whose largest one is at the index of the predicted class; or
                predicted classes, integers ``[B, ...]``.
            labels: the true classes, integers ``[B, ...]``. If a label or a prediction that counts is outside of 0 to
                C - 1, all counts are NaN.
            mask: booleans or weights, see `expand_mask`, for instance `place_weights` of a batch; None: all labels
                count.
            classes: C, the number of classes, for predicted classes; None for logits, which tell it.

        Raises:
            TypeError: the labels are not integers, or the predictions are integers and ``classes`` is None.
            ValueError: the shapes do not match, or C is below 1.
        """
        known = to_classes(predictions, labels, mask, classes)
        places = (known.labels, known.predicted)
        return cls(sum_by_place(places, known.weights, (known.classes, known.classes)))

    def value(self) -> np.ndarray:
        """The matrix ``[C, C]`` in float64, on the host."""
        return np.asarray(self.counts, np.float64)
