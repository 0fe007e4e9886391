"""Layers within flax's own transformations, in models whose cells are made in a compact method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from tests.helpers.layers import assert_close, each

KEY = jax.random.key(0)
INPUTS = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
LENGTHS = jnp.array([5, 0, 3])


def feedback() -> nn.RNNCellBase:
    return dl.FeedbackCell([dl.RNNCell(2), dl.FeedbackCell([dl.RNNCell(2), dl.GRUCell(2)])])


LAYERS = {
    "chunks": (dl.Recurrent, lambda: {"cell": dl.LSTMCell(2), "time_chunk": 2}),
    "layer norm": (dl.Recurrent, lambda: {"cell": dl.LayerNormGRUCell(2), "reverse": True}),
    "feedback": (dl.Recurrent, lambda: {"cell": feedback()}),
    "flax": (dl.Recurrent, lambda: {"cell": nn.OptimizedLSTMCell(2)}),
    "bidirectional": (
        dl.Bidirectional,
        lambda: {"forward": dl.GRUCell(2), "backward": feedback(), "merge": "sum"},
    ),
    "deep": (dl.DeepRecurrent, lambda: {"cell": dl.GRUCell(2), "layers": 3, "norm": "layer"}),
    "deep feedback": (dl.DeepRecurrent, lambda: {"cell": feedback(), "layers": 3}),
}


class Model(nn.Module):
    """One layer, whose class is transformed first."""

    kind: type
    make: Callable[[], dict[str, Any]]
    lift: Callable[[type], type] = lambda kind: kind

    @nn.compact
    def __call__(self, inputs, lengths=None):
        return self.lift(self.kind)(**self.make(), name="layer")(inputs, lengths)


class Layers(nn.Module):
    """Two layers of equal width in a scan over layers."""

    kind: type
    make: Callable[[], dict[str, Any]]

    @nn.compact
    def __call__(self, inputs, lengths=None):
        model = Model(self.kind, self.make)

        def one(model, inputs):
            return model(inputs, lengths)[1], None

        scan = nn.scan(one, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        return scan(model, inputs)[0]


def random_params(model, inputs):
    """Normally distributed parameters, which need no compilation."""
    random = np.random.default_rng(3)
    shapes = jax.eval_shape(model.init, KEY, inputs)
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(np.float32), shapes)


def differentiated(model):
    """The compiled function ``variables, inputs -> outputs, gradient in the variables``."""

    def loss(variables, inputs):
        outputs = model.apply(variables, inputs, LENGTHS)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(outputs)), outputs

    return jax.jit(jax.grad(loss, has_aux=True))


@pytest.mark.parametrize("lift", [nn.remat, pytest.param(nn.jit, marks=pytest.mark.slow)])
@each(["feedback", "chunks", "deep"], fast=["feedback"])
def test_nn_remat_and_nn_jit_change_nothing(name, lift):
    plain = Model(*LAYERS[name])
    lifted = Model(*LAYERS[name], lift)
    variables = random_params(plain, INPUTS[0])
    assert_same_shapes(variables, jax.eval_shape(lifted.init, KEY, INPUTS[0]))
    result, expected = (differentiated(model)(variables, INPUTS[0]) for model in (lifted, plain))
    assert_close(result, expected, 1e-6)


@each(LAYERS, fast=[])
def test_nn_vmap_is_a_layer_for_each_of_the_mapped(name):
    lift = lambda kind: nn.vmap(
        kind, in_axes=(0, None), variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}
    )
    plain, lifted = Model(*LAYERS[name]), Model(*LAYERS[name], lift)
    variables = random_params(lifted, INPUTS)
    results = jax.jit(lifted.apply)(variables, INPUTS, LENGTHS)
    for index in range(2):
        take = lambda tree, index=index: jax.tree.map(lambda leaf: leaf[index], tree)
        expected = jax.jit(plain.apply)(take(variables), INPUTS[index], LENGTHS)
        assert_close(take(results), expected, 1e-6)


@each(["feedback", "flax", "deep feedback"], fast=[])
def test_nn_scan_is_one_layer_after_the_other(name):
    plain, layers = Model(*LAYERS[name]), Layers(*LAYERS[name])
    variables = random_params(layers, INPUTS[0])
    result = jax.jit(layers.apply)(variables, INPUTS[0], LENGTHS)
    (of_model,) = variables["params"].values()
    outputs = INPUTS[0]
    for index in range(2):
        params = jax.tree.map(lambda leaf, index=index: leaf[index], of_model)
        _, outputs = jax.jit(plain.apply)({"params": params}, outputs, LENGTHS)
    assert_close(result, outputs, 1e-6)


def assert_same_shapes(one, other):
    shapes = lambda tree: jax.tree.map(lambda leaf: leaf.shape, tree)
    assert shapes(one) == shapes(other)
