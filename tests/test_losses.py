"""Losses against NumPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.losses import classification


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
    loss, metrics = classification(jnp.asarray(logits, jnp.float32), batch, label_smoothing=smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["loss"].value()) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"].value()) == pytest.approx((logits.argmax(-1) == labels)[mask].mean())


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_makes_the_loss_nan_unless_masked(label):
    logits, labels = jnp.ones((2, 4)), jnp.array([0, label])
    assert np.isnan(classification(logits, {"labels": labels})[0])
    mask = jnp.array([True, False])
    assert np.isfinite(classification(logits, {"labels": labels, "mask": mask})[0])


@pytest.mark.parametrize("shapes", [((6, 2, 4), (6,)), ((6, 4), (5,)), ((6, 4), (6, 1))])
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="logits: got"):
        classification(jnp.ones(shapes[0]), {"labels": jnp.zeros(shapes[1], int)})
