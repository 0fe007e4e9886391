"""Losses, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train.losses import classification, regression

classify = jax.jit(classification, static_argnames="label_smoothing")
regress = jax.jit(regression)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_cross_entropy_equals_its_definition(smoothing, masked):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(6, 4)) * 5, generator.integers(0, 4, 6)
    mask = np.arange(6) < 4 if masked else np.ones(6, bool)
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    expected = -(target * log_softmax).sum(-1)[mask].mean()
    batch = {"labels": labels, **({"mask": jnp.asarray(mask)} if masked else {})}
    loss, metrics = classify(jnp.asarray(logits, jnp.float32), batch, label_smoothing=smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["loss"].value()) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"].value()) == pytest.approx((logits.argmax(-1) == labels)[mask].mean())


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_of_the_classes_makes_the_loss_nan_unless_masked(label):
    logits, labels = jnp.ones((2, 4)), jnp.array([0, label])
    assert np.isnan(classify(logits, {"labels": labels})[0])
    mask = jnp.array([True, False])
    assert np.isfinite(classify(logits, {"labels": labels, "mask": mask})[0])


@pytest.mark.parametrize("shapes", [((6, 2, 4), (6,)), ((6, 4), (5,)), ((6, 4), (6, 1))])
def test_logits_that_do_not_fit_the_labels_are_refused(shapes):
    with pytest.raises(ValueError, match="logits: got"):
        classification(jnp.ones(shapes[0]), {"labels": jnp.zeros(shapes[1], int)})


@pytest.mark.parametrize("mask", [None, [True, False, True], [[True, True], [False, True], [False, False]]])
def test_every_valid_label_of_a_sequence_has_the_same_weight(mask):
    """Equals the loss of the same labels in a flat batch; the mask leaves out rows or single labels."""
    generator = np.random.default_rng(1)
    logits = jnp.asarray(generator.normal(size=(3, 2, 4)), jnp.float32)
    labels = jnp.asarray(generator.integers(0, 4, (3, 2)))
    flat, batch = {"labels": labels.ravel()}, {"labels": labels}
    if mask is not None:
        batch["mask"] = jnp.array(mask)
        rows = batch["mask"] if batch["mask"].ndim == 2 else jnp.repeat(batch["mask"], 2)
        flat["mask"] = rows.ravel()
    expected, expected_metrics = classify(logits.reshape(6, 4), flat)
    loss, metrics = classify(logits, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    for name, metric in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], metric, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_squared_error_equals_its_definition(shape, masked):
    generator = np.random.default_rng(0)
    outputs, targets = generator.normal(size=(2, *shape))
    mask = np.arange(6) < 4 if masked else np.ones(6, bool)
    expected = ((outputs - targets)[mask] ** 2).mean()
    targets = np.where(mask.reshape(-1, *[1] * (len(shape) - 1)), targets, np.nan)  # masked NaN
    batch = {"targets": jnp.asarray(targets, jnp.float32), **({"mask": jnp.asarray(mask)} if masked else {})}
    loss, metrics = regress(jnp.asarray(outputs, jnp.float32), batch)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    for name in ("loss", "mean_squared_error"):
        assert float(metrics[name].value()) == pytest.approx(expected, rel=1e-5)
    gradient = jax.jit(jax.grad(lambda y: regression(y, batch)[0]))(jnp.asarray(outputs, jnp.float32))
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()


@pytest.mark.parametrize("shapes", [((6, 1), (6,)), ((6,), (6, 1)), ((6, 2), (6, 3))])
def test_outputs_of_another_shape_than_the_targets_are_refused(shapes):
    with pytest.raises(ValueError, match="outputs: got"):
        regression(jnp.ones(shapes[0]), {"targets": jnp.zeros(shapes[1])})


def test_bfloat16_outputs_are_reduced_in_float32():
    """The sum of 1000 terms in bfloat16 would stop growing at 256."""
    logits, outputs = jnp.zeros((1000, 2), jnp.bfloat16), jnp.ones(1000, jnp.bfloat16)
    loss, _ = classify(logits, {"labels": jnp.zeros(1000, int)})
    assert (loss.dtype, float(loss)) == (jnp.float32, pytest.approx(np.log(2), rel=1e-6))
    loss, _ = regress(outputs, {"targets": jnp.zeros(1000)})
    assert (loss.dtype, float(loss)) == (jnp.float32, 1)


def test_a_mask_hides_nan():
    logits, labels = np.array([[2.0, 0.0], [np.nan, np.nan]], np.float32), np.array([0, 0])
    loss, measured = classify(jnp.asarray(logits), {"labels": labels, "mask": np.array([True, False])})
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-6)
    assert float(measured["accuracy"].value()) == 1
