"""Fractions of right labels."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import accuracy


def test_accuracy_counts_valid_rows():
    logits = jnp.array([[1.0, 0], [0, 1], [0, 1]])
    labels = jnp.array([0, 1, 0])
    assert float(accuracy(logits, labels).value()) == pytest.approx(2 / 3)
    assert float(accuracy(logits, labels, jnp.array([True, True, False])).value()) == 1


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "uint16", "uint32"])
def test_accuracy_takes_labels_of_every_integer_type(dtype):
    logits = jnp.eye(256)[jnp.array([3, 127, 100])]
    assert float(accuracy(logits, np.array([3, 127, 99]).astype(dtype)).value()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (jnp.zeros((3, 1), int), ValueError, r"logits: got \(3, 2\) for labels of shape \(3, 1\)"),
        (jnp.zeros(3), TypeError, "labels: got float32, expected integers"),
        (jnp.zeros((), int), ValueError, r"logits: got \(3, 2\) for labels of shape \(\)"),
        (None, TypeError, "labels: got None, expected an array of integers"),
    ],
)
def test_accuracy_refuses_labels_that_do_not_fit(labels, error, message):
    with pytest.raises(error, match=message):
        accuracy(jnp.ones((3, 2)), labels)
