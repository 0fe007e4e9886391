"""BatchNorm and LayerNorm of padded sequences: valid places only, against NumPy, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore.layers.normalization import normalize

KEY = jax.random.key(0)
LENGTHS = np.array([4, 0, 2], np.int32)
VALID = np.arange(4) < LENGTHS[:, None]
INPUTS = np.random.default_rng(0).normal(3.0, 2.0, size=(3, 4, 5)).astype(np.float32)


class Model(nn.Module):
    norm: str | None

    @nn.compact
    def __call__(self, inputs, lengths=None, train=False):
        return normalize(self.norm, inputs, lengths, train=train, name="norm")


def run(norm, inputs, lengths, train=True):
    """Outputs, updated statistics, and the gradient in the parameters."""
    model = Model(norm)

    @jax.jit
    def compute(inputs):
        variables = model.init(KEY, inputs)

        def loss(params):
            outputs, state = model.apply(
                {**variables, "params": params}, inputs, lengths, train, mutable=["batch_stats"]
            )
            return (outputs * jnp.arange(5)).sum(), (outputs, state)

        return jax.grad(loss, has_aux=True)(variables["params"])

    gradient, (outputs, state) = jax.device_get(compute(inputs))
    return outputs, state, gradient


def expected(valid_inputs, axis):
    return (valid_inputs - valid_inputs.mean(axis, keepdims=True)) / valid_inputs.std(axis, keepdims=True)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_valid_places_are_normalized_and_padding_is_0(norm):
    outputs, state, gradient = run(norm, INPUTS, LENGTHS)
    reference = expected(INPUTS[VALID].astype(np.float64), 0 if norm == "batch" else -1)
    np.testing.assert_allclose(outputs[VALID], reference, rtol=1e-4, atol=1e-4)
    assert not outputs[~VALID].any()
    np.testing.assert_allclose(gradient["norm"]["bias"], VALID.sum() * np.arange(5), rtol=1e-5)
    scale = (reference * np.arange(5)).sum(axis=0)
    np.testing.assert_allclose(gradient["norm"]["scale"], scale, rtol=1e-3, atol=1e-3)
    if norm == "batch":
        mean = state["batch_stats"]["norm"]["mean"]
        np.testing.assert_allclose(mean, 0.1 * INPUTS[VALID].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_nan_in_the_padding_changes_nothing(norm):
    spoilt = np.where(VALID[..., None], INPUTS, np.float32(np.nan))
    jax.tree.map(np.testing.assert_array_equal, run(norm, spoilt, LENGTHS), run(norm, INPUTS, LENGTHS))


def test_a_batch_without_valid_places_is_finite():
    outputs, state, _ = run("batch", INPUTS, np.zeros(3, np.int32))
    assert not outputs.any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_evaluation_takes_the_running_averages_and_updates_none():
    outputs, state, _ = run("batch", INPUTS, None, train=False)
    np.testing.assert_allclose(outputs, INPUTS / np.sqrt(1 + 1e-5), rtol=1e-6)
    assert not state["batch_stats"]["norm"]["mean"].any()


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_half_precision_is_accumulated_in_float32(norm):
    """In bfloat16 a mean near 300 has an error of 1, half of the deviation."""
    inputs = (INPUTS + 300).astype(jnp.bfloat16)
    outputs, _, _ = run(norm, inputs, None)
    reference = expected(np.asarray(inputs, np.float64), (0, 1) if norm == "batch" else -1)
    np.testing.assert_allclose(np.asarray(outputs, np.float64), reference, atol=0.05)


def test_without_a_norm_inputs_are_returned():
    assert normalize(None, INPUTS, LENGTHS, name="norm") is INPUTS


def test_variances_far_from_0_keep_their_digits():
    """With E[x^2] - E[x]^2 in float32, data of 32768 +- 10 had a deviation of .62 after the norm."""
    inputs = (32768 + 10 * np.random.default_rng(0).normal(size=(64, 16, 5))).astype(np.float32)
    outputs, state, _ = run("batch", inputs, None)
    variance = inputs.astype(np.float64).var(axis=(0, 1))
    np.testing.assert_allclose(outputs.std(axis=(0, 1)), 1, rtol=1e-3)
    np.testing.assert_allclose(state["batch_stats"]["norm"]["var"], 0.9 + 0.1 * variance, rtol=1e-3)
    lengths = np.full(64, 9, np.int32)
    _, state, _ = run("batch", inputs, lengths)
    variance = inputs[:, :9].astype(np.float64).var(axis=(0, 1))
    np.testing.assert_allclose(state["batch_stats"]["norm"]["var"], 0.9 + 0.1 * variance, rtol=1e-3)
    outputs, _, _ = run("layer", inputs, None)
    np.testing.assert_allclose(outputs, expected(inputs.astype(np.float64), -1), atol=0.05)


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5)])
@pytest.mark.parametrize("lengths", [False, True])
def test_a_batch_without_places_leaves_the_statistics_alone(shape, lengths):
    empty = np.zeros(shape, np.float32)
    outputs, state, gradient = run("batch", empty, np.zeros(shape[0], np.int32) if lengths else None)
    assert outputs.shape == shape
    assert not state["batch_stats"]["norm"]["mean"].any()
    assert (state["batch_stats"]["norm"]["var"] == 1).all()
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_a_batch_of_padding_alone_leaves_the_statistics_alone():
    outputs, state, gradient = run("batch", INPUTS, np.zeros(3, np.int32))
    assert not outputs.any()
    assert not state["batch_stats"]["norm"]["mean"].any()
    assert (state["batch_stats"]["norm"]["var"] == 1).all()
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))
