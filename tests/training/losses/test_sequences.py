"""The loss of label sequences is the mean cross-entropy of the labels that count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl

LOGITS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
LABELS = np.array([[1, 4, 2, 0], [3, 0, 0, 0], [2, 2, 0, 0]])
LENGTHS = np.array([4, 2, 0])


def reference(weights, smoothing=0.0):
    """A plain loop in float64: the mean cost, and the mean of the right guesses."""
    total = right = count = 0.0
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            logits = LOGITS[row, t].astype(np.float64)
            costs = np.log(np.exp(logits).sum()) - logits
            cost = (1 - smoothing) * costs[LABELS[row, t]] + smoothing * costs.mean()
            total += weights[row] * cost
            right += weights[row] * (logits.argmax() == LABELS[row, t])
            count += weights[row]
    return total / count, right / count


@pytest.mark.parametrize("mask", [None, np.array([True, False, True]), np.array([0.5, 2.0, 1.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_that_of_a_plain_loop(mask, smoothing):
    batch = {"labels": LABELS, "label_lengths": LENGTHS, "lengths": np.array([9, 9, 9])}
    if mask is not None:
        batch["mask"] = mask
    weights = np.ones(3) if mask is None else mask.astype(float)
    loss, measured = dl.losses.sequences(LOGITS, batch, label_smoothing=smoothing)
    cost, right = reference(weights, smoothing)
    assert float(loss) == pytest.approx(cost, rel=1e-5)
    assert float(measured["loss"].value()) == pytest.approx(cost, rel=1e-5)
    assert float(measured["accuracy"].value()) == pytest.approx(right, rel=1e-6)
    assert float(measured["perplexity"].value()) == pytest.approx(np.exp(reference(weights)[0]), rel=1e-5)


def test_padding_reaches_neither_loss_nor_gradient():
    batch = {"labels": jnp.asarray(LABELS), "label_lengths": jnp.asarray(LENGTHS)}
    counted = np.arange(4) < LENGTHS[:, None]
    bad = np.where(counted[..., None], LOGITS, np.nan)
    loss = lambda logits: dl.losses.sequences(logits, batch)[0]
    (value, gradient), expected = jax.value_and_grad(loss)(bad), loss(LOGITS)
    assert value == expected
    assert (np.asarray(gradient)[~counted] == 0).all()


def test_no_label_at_all_costs_nothing():
    batch = {"labels": LABELS, "label_lengths": np.zeros(3, int)}
    assert float(dl.losses.sequences(LOGITS, batch)[0]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_lengths": None}, "label_lengths: got a batch"),
        ({"labels": LABELS[0]}, r"labels: got shape \(4,\), expected \[B, N\]"),
        ({"label_lengths": np.array([5, 1, 1])}, "label_lengths"),
        ({"labels": LABELS[:, :3], "label_lengths": np.array([3, 1, 1])}, "logits"),
    ],
)
def test_bad_batches_are_refused(change, message):
    batch = {"labels": LABELS, "label_lengths": LENGTHS, **change}
    batch = {name: field for name, field in batch.items() if field is not None}
    with pytest.raises(ValueError, match=message):
        dl.losses.sequences(LOGITS, batch)
