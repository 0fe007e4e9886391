"""Mixed precision: the model computes in one type, everything that is kept stays float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.precision import predict_with_precision, with_precision
from tests.helpers import plain_toy

BATCH = {name: jnp.asarray(field[:8]) for name, field in plain_toy.arrays().items()}
PARAMS = {"bias": jnp.full(4, 0.25), "weights": jnp.linspace(-1, 1, 8).reshape(2, 4)}
STATE = {"mean": jnp.zeros(())}
KEY = jax.random.key(0)


def test_float32_changes_nothing():
    loss = plain_toy.make_loss(0.0)
    assert with_precision(loss, "float32") is loss


def test_bfloat16_casts_parameters_and_inputs_and_nothing_else():
    seen = {}

    def loss(params, model_state, batch, rng, train):
        seen.update(params=params, model_state=model_state, batch=batch)
        return plain_toy.make_loss(0.0)(params, model_state, batch, rng, train)

    mixed = with_precision(loss, "bfloat16")
    (value, (state, metrics)), grads = jax.value_and_grad(mixed, has_aux=True)(
        PARAMS, STATE, BATCH, KEY, True
    )
    dtypes = jax.tree.map(lambda leaf: str(leaf.dtype), seen)
    assert dtypes == {
        "params": {"bias": "bfloat16", "weights": "bfloat16"},
        "model_state": {"mean": "float32"},
        "batch": {"inputs": "bfloat16", "lengths": "int32", "targets": "float32"},
    }
    for leaf in jax.tree.leaves((value, state, metrics, grads)):
        assert leaf.dtype == jnp.float32


def test_the_sources_of_a_model_with_two_inputs_are_cast():
    def loss(params, model_state, batch, rng, train):
        assert {name: str(field.dtype) for name, field in batch.items()} == types
        return params["bias"].sum(), (model_state, {})

    types = {"source": "bfloat16", "tokens": "int32", "targets": "float32"}
    batch = {"source": BATCH["inputs"], "tokens": BATCH["lengths"], "targets": BATCH["targets"]}
    with_precision(loss, "bfloat16")(PARAMS, STATE, batch, KEY, True)


def test_the_loss_is_that_of_rounded_parameters_and_inputs():
    """Against NumPy in float64, up to the rounding of the model's own operations."""
    rounded = lambda array: np.asarray(jnp.asarray(array, jnp.bfloat16), np.float64)
    errors = rounded(BATCH["inputs"]) @ rounded(PARAMS["weights"]) + rounded(PARAMS["bias"])
    valid = np.arange(plain_toy.STEPS) < np.asarray(BATCH["lengths"])[:, None]
    expected = ((errors - np.asarray(BATCH["targets"])) ** 2)[valid].mean()
    value, _ = with_precision(plain_toy.make_loss(0.0), "bfloat16")(PARAMS, STATE, BATCH, KEY, False)
    assert float(value) == pytest.approx(expected, rel=0.02)


def test_outputs_are_those_of_rounded_parameters_and_inputs_in_float32():
    assert predict_with_precision(plain_toy.predict, "float32") is plain_toy.predict
    outputs = predict_with_precision(plain_toy.predict, "bfloat16")(PARAMS, STATE, BATCH)
    rounded = {name: jnp.asarray(leaf, jnp.bfloat16) for name, leaf in PARAMS.items()}
    expected = plain_toy.predict(rounded, STATE, {"inputs": jnp.asarray(BATCH["inputs"], jnp.bfloat16)})
    assert (outputs.dtype, expected.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_array_equal(outputs, expected.astype(jnp.float32))


def test_a_batch_without_inputs_is_not_cast():
    def loss(params, model_state, batch, rng, train):
        assert batch["targets"].dtype == jnp.float32
        return params["bias"].sum(), (model_state, {})

    value, _ = with_precision(loss, "bfloat16")(PARAMS, STATE, {"targets": BATCH["targets"]}, KEY, True)
    assert float(value) == 1
