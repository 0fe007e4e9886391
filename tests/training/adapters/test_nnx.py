"""Flax NNX modules: names of their variables, their state, and random keys that come from the step alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from dlcore.training.adapters.nnx import nnx_model
from dlcore.utils.trees import named_leaves
from tests.helpers import library_models, model_docs

BATCH = {"inputs": jnp.ones((4, 6))}
KEY = jax.random.key(0)


def read(params, state):
    linear, readout = params["layers"]["0"], params["layers"]["1"]
    return {
        "kernel": linear["kernel"],
        "bias": linear["bias"],
        "scale": params["norm"]["scale"],
        "shift": params["norm"]["bias"],
        "mean": state["norm"]["mean"],
        "var": state["norm"]["var"],
        "readout_kernel": readout["kernel"],
        "readout_bias": readout["bias"],
    }


def test_state_dropout_evaluation_and_precision():
    experiment = library_models.nnx()
    # Without a dtype of its own BatchNorm of NNX returns the type of its statistics.
    assert library_models.product_types(experiment, "bfloat16") == [
        "bfloat16",
        "bfloat16",
        "float32",
        "float32",
    ]
    library_models.check_behavior(experiment, read, share=0.1)


class Model(nnx.Module):
    """Two layers of dropout in a list, a tied parameter, a counter, stacked streams, and a value for others to read."""

    def __init__(self, rate: float = 0.5, *, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Dropout(rate, rngs=rngs) for _ in range(3)])
        self.scale = nnx.Param(jnp.ones(()))
        self.tied = self.scale
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))
        self.stacked = rngs.fork(split=3)

    def __call__(self, inputs: jax.Array, *, train: bool, rngs: nnx.Rngs) -> list[jax.Array]:
        self.calls[...] += 1
        self.features = nnx.Intermediate(inputs)
        assert train is not self.layers[0].deterministic
        outputs = [self.tied * layer(inputs) for layer in self.layers]
        return [*outputs, rngs.noise.normal(inputs.shape), jax.random.key_data(self.stacked.default.key[...])]


@pytest.mark.filterwarnings("ignore:The 'split' argument:DeprecationWarning")
def test_each_stream_has_a_key_of_its_own_and_none_is_kept():
    model = nnx_model(functools.partial(Model, rate=0.5))
    params, state = model.init(KEY, BATCH)
    assert list(named_leaves(params)) == ["scale"]
    assert list(named_leaves(state)) == ["calls"]
    apply = jax.jit(model.apply, static_argnums=4)
    (*masks, noise, keys), after = apply(params, state, BATCH, KEY, True)
    assert int(after["calls"]) == 1
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert len({mask.tobytes() for mask in map(np.asarray, masks)}) == len(masks)
    assert {float(value) for value in np.unique(masks)} == {0.0, 2.0}
    assert len(np.unique(np.asarray(keys), axis=0)) == 3
    (*_, again, _), _ = apply(params, after, BATCH, KEY, True)
    np.testing.assert_array_equal(noise, again)
    (*outputs, _, _), _ = apply(params, state, BATCH, KEY, False)
    np.testing.assert_array_equal(outputs[0], BATCH["inputs"])


def test_a_module_that_exists_is_taken_as_it_is():
    """As one whose parameters were loaded from a file: it is not changed."""
    module = nnx.Linear(6, 2, rngs=nnx.Rngs(3))
    model = nnx_model(lambda rngs: module)
    params, state = jax.jit(model.init)(KEY, BATCH)
    np.testing.assert_array_equal(params["kernel"], module.kernel[...])
    outputs, _ = jax.jit(model.apply, static_argnums=4)(params, state, BATCH, KEY, True)
    np.testing.assert_allclose(outputs, module(BATCH["inputs"]), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nnx.Linear(1, 1, rngs=nnx.Rngs(0)), r"model: got an object of Linear, expected .* lambda rngs: Linear"),
        (nn.Dense(1), "model: got the linen module Dense, expected dl.Experiment.from_flax"),
        (3, "model: got 3, expected a function"),
        (lambda key: None, r"model: got model\(key\), expected a function for model\(rngs=...\)"),
    ],
)  # fmt: skip
def test_what_makes_no_module_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        nnx_model(make)


def test_what_returns_no_module_is_refused():
    with pytest.raises(TypeError, match=r"model: got dict returned, expected an nnx\.Module"):
        nnx_model(lambda rngs: {}).init(KEY, BATCH)
    with pytest.raises(TypeError, match=r"Module returned, expected an nnx\.Module that can be called"):
        nnx_model(lambda rngs: nnx.Module()).init(KEY, BATCH)


@pytest.mark.slow
def test_the_program_of_the_page_goes_on_to_the_same_bits(tmp_path):
    model_docs.check_program("Flax NNX", tmp_path)
