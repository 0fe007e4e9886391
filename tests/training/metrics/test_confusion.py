"""The confusion matrix equals scikit-learn's."""

import jax
import numpy as np
from sklearn.metrics import confusion_matrix

from dlcore.training.metrics import ConfusionMatrix, place_weights

of = jax.jit(ConfusionMatrix.of, static_argnames="classes")


def ragged():
    """Predictions, labels and weights of ragged rows, whose padding holds anything."""
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 4, (2, 6, 7))
    lengths, mask = np.array([7, 0, 3, 1, 5, 7]), generator.uniform(0.5, 2, 6).astype(np.float32)
    valid = np.arange(7) < lengths[:, None]
    weights = place_weights({"mask": mask, "lengths": lengths}, labels.shape)
    return np.where(valid, predictions, 9), np.where(valid, labels, -3), valid, weights


def test_the_counts_equal_scikit_learns():
    predictions, labels, valid, weights = ragged()
    matrix = of(predictions, labels, valid, classes=5)
    expected = confusion_matrix(labels[valid], predictions[valid], labels=range(5))
    assert matrix.value().dtype == np.float64
    np.testing.assert_array_equal(matrix.value(), expected)
    parts = [of(predictions[rows], labels[rows], valid[rows], classes=5) for rows in (slice(3), slice(3, 6))]
    np.testing.assert_array_equal(jax.tree.map(np.add, *parts).value(), expected)
    weighted = of(predictions, labels, weights, classes=5).value()
    chosen = np.asarray(weights)[valid]
    expected = confusion_matrix(labels[valid], predictions[valid], labels=range(5), sample_weight=chosen)
    np.testing.assert_allclose(weighted, expected, rtol=1e-6)


def test_a_label_outside_of_the_classes_makes_the_counts_nan():
    assert np.isnan(of(np.array([0, 1]), np.array([0, 2]), classes=2).value()).all()
