"""Equinox modules: rows by themselves, names of their arrays, their state, and keys for each row."""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.adapters.equinox import equinox_model
from dlcore.utils.trees import named_leaves
from tests.helpers import library_models, model_docs

eqx = pytest.importorskip("equinox", reason="Equinox is not installed (extra `equinox`)")
BATCH = {"inputs": jnp.ones((4, 6)), "lengths": jnp.arange(4)}
KEY = jax.random.key(0)


def read(params, state):
    linear, readout = params["layers"]["0"], params["layers"]["1"]
    moments, count = state["norm"]["batch_state_index"], int(state["norm"]["batch_counter"])
    unbias = 1 - library_models.MOMENTUM**count if count else 1
    return {
        "kernel": linear["weight"].T,
        "bias": linear["bias"],
        "scale": params["norm"]["weight"],
        "shift": params["norm"]["bias"],
        "mean": moments["0"] / unbias,
        "var": moments["1"] / unbias,
        "readout_kernel": readout["weight"].T,
        "readout_bias": readout["bias"],
    }


def test_state_dropout_evaluation_and_precision():
    experiment = library_models.equinox()
    assert library_models.product_types(experiment, "bfloat16") == ["bfloat16"] * 4
    library_models.check_behavior(experiment, read, share=1.0)


class Model(eqx.Module):
    """Dropout of one row, with arrays that are no parameters and parts that are no arrays."""

    layers: list[Any]
    table: jax.Array
    scale: jax.Array
    name: str = "model"
    double: Any = lambda x: 2 * x

    def __init__(self, rate: float = 0.5, *, key: jax.Array):
        self.layers = [eqx.nn.Dropout(rate), jax.nn.relu, eqx.nn.Dropout(rate)]
        self.table = jnp.arange(3)
        self.scale = jax.random.uniform(key, (), minval=1)

    def __call__(self, inputs, lengths, *, key=None, train=False):
        drop, activate, _ = self.layers
        assert inputs.ndim == 1 or key.shape == ()
        assert train is not drop.inference
        return self.scale * activate(drop(inputs, key=key)) + 100 * lengths[..., None]


def test_rows_are_computed_one_by_one_with_a_key_each():
    model = equinox_model(functools.partial(Model, 0.5))
    params, state = jax.device_get(model.init(KEY, BATCH))
    assert list(named_leaves(params)) == ["scale"]
    assert list(named_leaves(state)) == ["table"]
    apply = jax.jit(model.apply, static_argnums=4)
    outputs, after = apply(params, state, BATCH, KEY, True)
    rows = (np.asarray(outputs) - 100 * np.arange(4)[:, None]) / params["scale"]
    assert len(np.unique(rows.round(2), axis=0)) == 4
    assert set(np.unique(rows.round(2))) == {0.0, 2.0}
    np.testing.assert_array_equal(after["table"], np.arange(3))
    outputs, _ = apply(params, state, BATCH, KEY, False)
    np.testing.assert_allclose(outputs[:, 0], params["scale"] + 100 * np.arange(4), rtol=1e-6)
    whole, _ = equinox_model(Model, batched=True).apply(params, state, BATCH, KEY, False)
    np.testing.assert_allclose(whole, outputs, rtol=1e-6)


def test_a_row_without_its_length_is_refused():
    model = equinox_model(lambda key: eqx.nn.Identity(key=key))
    with pytest.raises(TypeError, match=r"Identity.__call__: got .* for a batch with lengths"):
        model.apply({}, {}, BATCH, KEY, True)


class Stateful(eqx.Module):
    norm: eqx.nn.BatchNorm

    def __init__(self, *, key):
        self.norm = eqx.nn.BatchNorm(6, "batch", mode="batch")

    def __call__(self, inputs, state):
        return self.norm(inputs, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (3, "model: got 3, expected a function"),
        (eqx.nn.Identity(), r"model: got an object of Identity, expected what makes one from a random key"),
        (lambda rng: None, r"model: got model\(rng\), expected a function for model\(key=...\)"),
        (lambda key: {}, "model: got dict returned, expected an Equinox module"),
        (lambda key: (1, 2, 3), "model: got 3 values .* returned, expected a module, state"),
        (lambda key: (eqx.nn.Identity(), {}), "model: got dict returned as the state, expected an equinox.nn.State"),
        (Stateful, r"model: got Stateful, which has a state, expected equinox.nn.make_with_state\(Stateful\)"),
    ],
)  # fmt: skip
def test_what_makes_no_module_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        equinox_model(make).init(KEY, BATCH)


def test_without_equinox_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'dlcore\[equinox\]'"):
        equinox_model(Model)


@pytest.mark.slow
def test_the_program_of_the_page_goes_on_to_the_same_bits(tmp_path):
    model_docs.check_program("Equinox", tmp_path)
