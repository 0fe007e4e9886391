"""Fractions of right labels."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import accuracy, binary_accuracy, top_k_accuracy


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


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_counts_labels_among_the_largest_logits(k):
    generator = np.random.default_rng(0)
    logits, labels = generator.integers(0, 3, (4, 3, 5)), generator.integers(0, 5, (4, 3))
    mask = generator.random((4, 3)) < 0.7
    order = np.argsort(-logits, axis=-1, kind="stable")  # among equal logits the smaller index comes first
    expected = (order[..., :k] == labels[..., None]).any(-1)[mask].mean()
    assert float(top_k_accuracy(logits, labels, mask, k=k).value()) == pytest.approx(expected)
    if k == 1:
        assert float(accuracy(logits, labels, mask).value()) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 6])
def test_k_is_a_number_of_classes(k):
    with pytest.raises(ValueError, match=f"k: got {k}, expected an integer from 1 to 5"):
        top_k_accuracy(jnp.zeros((2, 5)), jnp.zeros(2, int), k=k)


def test_binary_accuracy_goes_by_the_sign_of_the_logit():
    logits, labels = jnp.array([2.0, -2.0, 0.0, -1.0, jnp.nan]), np.array([1, 0, 0, 1, 0])
    mask = np.array([True, True, True, True, False])
    assert float(binary_accuracy(logits, labels, mask).value()) == 0.75
    assert float(binary_accuracy(logits, labels.astype(bool), mask).value()) == 0.75
    with pytest.raises(
        ValueError, match=r"logits: got \(5, 1\) for labels of shape \(5,\), expected the same"
    ):
        binary_accuracy(logits[:, None], labels)
