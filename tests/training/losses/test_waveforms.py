"""The loss is minus the mean ratio; its gradient leads to the target and is finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training import metrics
from dlcore.training.losses import si_sdr

INPUTS, TARGETS = np.random.default_rng(0).standard_normal((2, 3, 40, 1)).astype(np.float32)
BATCH = {"inputs": INPUTS, "targets": TARGETS, "lengths": np.array([40, 10, 1])}


def test_the_loss_and_its_metrics():
    outputs = TARGETS + INPUTS / 10
    loss, measured = si_sdr(outputs, BATCH)
    places = metrics.place_weights(BATCH, TARGETS.shape)
    expected = {
        name: metrics.si_sdr(waves, TARGETS, places) for name, waves in (("out", outputs), ("in", INPUTS))
    }
    gain = expected["out"].value() - expected["in"].value()
    assert float(loss) == pytest.approx(-float(expected["out"].value()), rel=1e-5)
    assert {name: float(metric.value()) for name, metric in measured.items()} == {
        "loss": pytest.approx(float(loss)),
        "si_sdr": pytest.approx(-float(loss)),
        "si_sdr_gain": pytest.approx(float(gain), rel=1e-4),
    }
    assert "si_sdr_gain" not in si_sdr(outputs, {"targets": TARGETS})[1]


def test_padding_is_inert():
    """A row of one sample is always a multiple of its target: its gradient is 0."""
    valid = metrics.place_weights(BATCH, TARGETS.shape)
    padded = {**BATCH, **{name: jnp.where(valid, BATCH[name], jnp.nan) for name in ("inputs", "targets")}}
    outputs = jnp.where(valid, jnp.asarray(INPUTS), jnp.nan)
    (loss, _), gradient = jax.value_and_grad(si_sdr, has_aux=True)(outputs, padded)
    expected, known = jax.value_and_grad(lambda y: si_sdr(y, BATCH)[0])(jnp.asarray(INPUTS))
    assert float(loss) == float(expected)
    np.testing.assert_array_equal(gradient, known)
    assert not np.asarray(gradient)[~np.asarray(valid)].any()


def test_the_gradient_of_silence_is_finite():
    gradient = jax.grad(lambda y: si_sdr(y, BATCH)[0])(jnp.zeros_like(TARGETS))
    assert np.isfinite(gradient).all()


def test_descent_finds_the_target_up_to_its_scale():
    batch, outputs = {"targets": TARGETS}, jnp.asarray(INPUTS)
    rule = optax.adam(0.05)

    @jax.jit
    def step(outputs, state):
        updates, state = rule.update(jax.grad(lambda y: si_sdr(y, batch)[0])(outputs), state)
        return outputs + updates, state

    state, before = rule.init(outputs), float(si_sdr(outputs, batch)[0])
    for _ in range(100):
        outputs, state = step(outputs, state)
    assert float(si_sdr(outputs, batch)[0]) < before - 20
