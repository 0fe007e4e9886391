"""Precision, recall and F1 of classes as sums over batches."""

from typing import Any, Self

import flax
import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import to_integers, to_real
from dlcore.training.metrics.bins import sum_by_place
from dlcore.training.metrics.classes import to_classes
from dlcore.training.metrics.places import mask_or_ones
from dlcore.utils.checks import check_choice

AVERAGES = ("macro", "micro", "weighted", None)


@flax.struct.dataclass
class ClassCounts:
    """Counts of each class, of which a subclass computes a score; as scikit-learn's with ``zero_division=0``.

    Attributes:
        correct: ``[C]``, how often each class was predicted and true.
        predicted: ``[C]``, how often it was predicted.
        actual: ``[C]``, how often it was true.
        average: what ``value()`` returns, see `of`.
    """

    correct: jax.Array
    predicted: jax.Array
    actual: jax.Array
    average: str | None = flax.struct.field(pytree_node=False, default="macro")

    @classmethod
    def of(
        cls,
        predictions: jax.Array,
        labels: jax.Array,
        mask: jax.Array | None = None,
        *,
        classes: int | None = None,
        average: str | None = "macro",
    ) -> Self:
        """The counts of a batch in which each place has one class.

        Args:
            predictions: logits ``[B, ..., C]``, whose largest one is at the index of the predicted class; or
                predicted classes, integers ``[B, ...]``.
            labels: the true classes, integers ``[B, ...]``. If a label or a prediction that counts is outside of 0 to
                C - 1, the value is NaN.
            mask: booleans or weights, see `expand_mask`, for instance `place_weights` of a batch; None: all labels
                count.
            classes: C, the number of classes, for predicted classes; None for logits, which tell it.
            average: "macro" is the mean over the classes that occur among labels or predictions; "weighted" weights
                each class by how often it is true; "micro" is the score of the summed counts; None gives the scores of
                all classes ``[C]``. A score of 0 / 0 is 0.

        Raises:
            TypeError: the labels are not integers, or the predictions are integers and ``classes`` is None.
            ValueError: the shapes do not match, C is below 1, or ``average`` is another word.
        """
        check_choice("average", average, AVERAGES)
        known = to_classes(predictions, labels, mask, classes)
        right = (known.predicted == known.labels) & (known.weights != 0)
        correct = jnp.where(right, known.weights, jnp.zeros((), known.weights.dtype))
        shape = (known.classes,)
        return cls(
            correct=sum_by_place((known.labels,), correct, shape),
            predicted=sum_by_place((known.predicted,), known.weights, shape),
            actual=sum_by_place((known.labels,), known.weights, shape),
            average=average,
        )

    @classmethod
    def of_multi_label(
        cls,
        logits: jax.Array,
        labels: jax.Array,
        mask: jax.Array | None = None,
        *,
        average: str | None = "macro",
    ) -> Self:
        """The counts of a batch in which any number of classes is true; a class is predicted if its logit is above 0.

        With one class, ``logits[..., None]`` and ``labels[..., None]``, it is the binary score of the class 1.

        Args:
            logits: ``[B, ..., C]``.
            labels: ``[B, ..., C]`` booleans, or integers that are True where they are not 0.
            mask: as in `of`: ``[B]`` up to ``[B, ..., C]``.
            average: as in `of`. scikit-learn's "macro" of several labels also counts a class that never occurs, as 0.

        Raises:
            TypeError: logits or labels are not arrays of numbers, or the labels are not integers.
            ValueError: the shapes do not match, or ``average`` is another word.
        """
        check_choice("average", average, AVERAGES)
        logits, labels = to_real("logits", logits), to_integers("labels", labels)
        if logits.ndim < 2 or labels.shape != logits.shape:
            raise ValueError(
                f"logits: got {logits.shape} for labels of shape {labels.shape}, expected the same shape [B, ..., C]"
            )
        weights, predicted, actual = mask_or_ones(mask, labels.shape), logits > 0, labels != 0
        return cls(
            correct=_sum_rows(weights, predicted & actual),
            predicted=_sum_rows(weights, predicted),
            actual=_sum_rows(weights, actual),
            average=average,
        )

    def value(self) -> Any:
        """The score on the host: a number, or an array ``[C]`` if ``average`` is None."""
        counts = [np.asarray(leaf, np.float64) for leaf in (self.correct, self.predicted, self.actual)]
        if self.average == "micro":
            counts = [leaf.sum(keepdims=True) for leaf in counts]
        scores, (_, predicted, actual) = self._scores(*counts), counts
        if self.average is None:
            return scores
        weights = actual if self.average == "weighted" else (predicted + actual != 0).astype(float)
        return _divide((scores * weights).sum(), weights.sum())

    @staticmethod
    def _scores(correct: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """The score of each class."""
        raise NotImplementedError


def _sum_rows(weights: jax.Array, chosen: jax.Array) -> jax.Array:
    """The sum of the weights of what is chosen, ``[B, ..., C] -> [C]``; booleans are counted exactly."""
    addends = jnp.where(chosen, weights, jnp.zeros((), weights.dtype))
    sums = addends.sum(axis=tuple(range(addends.ndim - 1)))
    return sums.astype(jnp.promote_types(sums.dtype, jnp.float32))


def _divide(part: Any, whole: Any) -> Any:
    """``part / whole``, and 0 for 0 / 0."""
    return part / (whole + (whole == 0))


@flax.struct.dataclass
class F1(ClassCounts):
    """The F1 score, ``2 correct / (predicted + actual)`` of a class: the harmonic mean of precision and recall.

    It equals ``sklearn.metrics.f1_score`` with the same ``average`` and ``zero_division=0``.

    >>> logits = jnp.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    >>> F1.of(logits, jnp.array([0, 1, 2]), average=None).value().round(3).tolist()
    [0.667, 0.0, 1.0]
    """

    @staticmethod
    def _scores(correct: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _divide(2 * correct, predicted + actual)


@flax.struct.dataclass
class Precision(ClassCounts):
    """The fraction of the predictions of a class that are right, ``correct / predicted``.

    It equals ``sklearn.metrics.precision_score`` with the same ``average`` and ``zero_division=0``.

    >>> float(Precision.of(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]), classes=2).value())
    0.75
    """

    @staticmethod
    def _scores(correct: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _divide(correct, predicted)


@flax.struct.dataclass
class Recall(ClassCounts):
    """The fraction of the labels of a class that were predicted, ``correct / actual``.

    It equals ``sklearn.metrics.recall_score`` with the same ``average`` and ``zero_division=0``.

    >>> float(Recall.of(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]), classes=2).value())
    0.75
    """

    @staticmethod
    def _scores(correct: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _divide(correct, actual)
