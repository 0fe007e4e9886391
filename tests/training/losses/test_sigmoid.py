"""The cross-entropy of the sigmoid, against NumPy in float64 and torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.losses import binary, multi_label

decide = jax.jit(jax.value_and_grad(binary, has_aux=True), static_argnames="positive_weight")
label = jax.jit(jax.value_and_grad(multi_label, has_aux=True))


def costs(logits, targets, weight=1.0):
    positive, negative = np.log1p(np.exp(-logits)), np.log1p(np.exp(logits))
    return weight * targets * positive + (1 - targets) * negative


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_the_binary_cross_entropy_equals_its_definition(dtype, weight):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(4, 5)) * 3, generator.integers(0, 2, (4, 5))
    lengths, mask = np.array([5, 0, 3, 4]), np.array([1.0, 2.0, 0.5, 0.0], np.float32)
    places = mask[:, None] * (np.arange(5) < lengths[:, None])
    expected = (places * costs(logits, labels, weight)).sum() / places.sum()
    padded = np.where(places > 0, logits, np.nan).astype(np.float32)
    labels = np.where(places > 0, labels, 1)
    batch = {"labels": labels.astype(dtype), "lengths": lengths, "mask": mask}
    (loss, measured), gradient = decide(padded, batch, positive_weight=weight)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(measured["loss"].weight) == places.sum()
    right = (places * ((logits > 0) == labels)).sum()
    assert float(measured["accuracy"].total) == pytest.approx(right)
    assert np.isfinite(gradient).all()
    assert not gradient[places == 0].any()


@pytest.mark.parametrize("mask_shape", [None, (3,), (3, 4), (3, 4, 4)])
def test_each_of_several_labels_counts(mask_shape):
    """There are as many classes as steps; the last axis is no time."""
    generator = np.random.default_rng(0)
    logits, targets = generator.normal(size=(3, 4, 4)) * 3, generator.random((3, 4, 4))
    targets[0] = targets[0] > 0.5
    lengths, weight = np.array([4, 2, 0]), np.array([1.0, 0.5, 2.0, 0.0])
    mask = None if mask_shape is None else generator.random(mask_shape) < 0.7
    places = (np.arange(4) < lengths[:, None])[..., None] * np.ones((3, 4, 4))
    if mask is not None:
        places = places * mask.reshape(*mask.shape, *[1] * (3 - mask.ndim))
    expected = (places * costs(logits, targets, weight)).sum() / places.sum()
    batch = {
        "inputs": np.ones((3, 4, 2)),
        "targets": np.where(places > 0, targets, np.nan),
        "lengths": lengths,
        "mask": mask,
    }
    given = np.where(places > 0, logits, np.nan)
    (loss, measured), gradient = label(given, batch, positive_weight=weight)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    right = (places * ((logits > 0) == (targets > 0.5))).sum()
    assert (float(measured["accuracy"].total), float(measured["loss"].weight)) == (right, places.sum())
    assert np.isfinite(gradient).all()
    assert not gradient[places == 0].any()


def test_lengths_do_not_count_classes_of_rows():
    batch = {"inputs": np.ones((2, 3, 1)), "lengths": np.array([1, 3]), "targets": np.ones((2, 3))}
    assert float(label(np.zeros((2, 3)), batch)[0][1]["loss"].weight) == 6


def test_infinite_logits_are_certain():
    logits, labels = jnp.array([jnp.inf, -jnp.inf]), jnp.array([1, 0])
    (loss, _), gradient = decide(logits, {"labels": labels})
    assert float(loss) == 0
    assert not gradient.any()
    assert float(decide(logits, {"labels": 1 - labels})[0][0]) == np.inf


def test_labels_and_targets_outside_of_their_bounds_make_the_loss_nan_unless_masked():
    for bad in (-1, 2):
        batch = {"labels": np.array([0, bad])}
        assert np.isnan(decide(np.zeros(2), batch)[0][0])
        assert np.isfinite(decide(np.zeros(2), {**batch, "mask": np.array([True, False])})[0][0])
    assert np.isnan(label(np.zeros((1, 2)), {"targets": np.array([[0.5, 1.1]])})[0][0])


@pytest.mark.slow
def test_both_equal_torchs():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    generator = np.random.default_rng(0)
    logits, targets, weight = generator.normal(size=(6, 3)) * 20, generator.random((6, 3)), [0.5, 2.0, 1.0]
    labels = (targets > 0.5).astype(int)

    def compare(loss, wanted, weight):
        given = torch.tensor(logits, requires_grad=True)
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))(
            given, torch.tensor(wanted).double()
        )
        expected.backward()
        value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(logits))
        assert float(value) == pytest.approx(expected.item(), rel=1e-13)
        np.testing.assert_allclose(gradient, given.grad, rtol=1e-10, atol=1e-14)

    with jax.enable_x64(True):
        compare(lambda z: binary(z, {"labels": labels}, positive_weight=3.0)[0], labels, 3.0)
        batch = {"targets": targets}
        compare(lambda z: multi_label(z, batch, positive_weight=jnp.array(weight))[0], targets, weight)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: binary(np.zeros((2, 1)), {"labels": np.zeros(2, int)}),
            ValueError,
            r"logits: got \(2, 1\) for",
        ),
        (lambda: binary(np.zeros(2), {"labels": np.zeros(2)}), TypeError, "labels: got float64"),
        (lambda: binary(np.zeros(2), {"targets": 1}), ValueError, "labels: got a batch with"),
        (
            lambda: binary(np.zeros(2), {"labels": np.zeros(2, int)}, positive_weight=-1),
            ValueError,
            "positive_weight: got -1",
        ),
        (
            lambda: multi_label(np.zeros(2), {"targets": np.zeros(2)}),
            ValueError,
            r"logits: got \(2,\) for targets",
        ),
        (
            lambda: multi_label(np.zeros((2, 3)), {"targets": np.zeros((2, 3))}, positive_weight=np.ones(2)),
            ValueError,
            r"positive_weight: got shape \(2,\), expected a number or \(3,\)",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_weight_of_0_also_counts_for_an_infinite_logit():
    batch = {"labels": np.array([1])}
    (loss, _), gradient = jax.value_and_grad(binary, has_aux=True)(
        np.array([-np.inf]), batch, positive_weight=0.0
    )
    assert loss == 0
    assert gradient == 0
