"""Every cell of a model is found, and the gradients along all cells are the model's own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.utils.trees import named_leaves

LENGTHS = np.array([5, 0, 2, 4])
GENERATOR = np.random.default_rng(1)
INPUTS, WEIGHTS = GENERATOR.normal(size=(4, 5, 3)), GENERATOR.normal(size=(4, 5, 1))

LAYERS = {
    "recurrent": lambda: dl.Recurrent(dl.GRUCell(4)),
    "reverse": lambda: dl.Recurrent(dl.RNNCell(4), reverse=True),
    "bidirectional": lambda: dl.Bidirectional(dl.LSTMCell(4), dl.RNNCell(3)),
    "deep": lambda: dl.DeepRecurrent(dl.RNNCell(4), layers=3, residual=True),
    "deep, bidirectional": lambda: dl.DeepRecurrent(
        dl.RNNCell(4), layers=2, bidirectional=True, norm="layer"
    ),
    "flax's cell": lambda: dl.Recurrent(nn.OptimizedLSTMCell(4)),
    "layer norm": lambda: dl.Recurrent(dl.LayerNormGRUCell(4)),
}
NAMES = {
    "bidirectional": ["layer/forward", "layer/backward"],
    "deep": ["layer/first/cell", "layer/upper/0/layer/cell", "layer/upper/1/layer/cell"],
}
COUNTS = {"bidirectional": 2, "deep": 3, "deep, bidirectional": 4}
QUICK = [("reverse", None)]
SLOW = [*((name, LENGTHS) for name in LAYERS), ("deep", None)]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


class Model(nn.Module):
    layer: nn.Module

    @nn.compact
    def __call__(self, inputs, lengths):
        options = {"train": False} if isinstance(self.layer, dl.DeepRecurrent) else {}
        carry, outputs = self.layer(inputs, lengths, **options)
        last = sum(leaf.sum() for leaf in jax.tree.leaves(self.layer.hidden(carry)))
        return (jnp.sin(outputs) * WEIGHTS).sum() + last**2


def part_of(params, name):
    """The part of the model's parameters that belongs to a recurrence with this name."""
    index = None
    for part in name.split("/"):
        if part.isdigit():
            index = int(part)
        else:
            params = params[part]
    return params if index is None else jax.tree.map(lambda leaf: leaf[index], params)


@pytest.mark.parametrize(("name", "lengths"), CASES)
def test_the_gradients_of_all_recurrences_are_the_models_gradient(name, lengths):
    names = []
    with jax.enable_x64(True):
        model, lengths = Model(LAYERS[name]()), None if lengths is None else jnp.asarray(lengths)

        def loss(params):
            return model.apply({"params": params}, INPUTS, lengths)

        @jax.jit
        def measure():
            params = model.init(jax.random.key(0), INPUTS, lengths)["params"]
            params = jax.tree.map(lambda leaf: leaf.astype("float64"), params)
            found = find_recurrences(lambda: loss(params))
            names[:] = [one.name for one in found]
            measured = []
            for one in found:
                states = trajectory(one.recurrence)
                cotangents = state_cotangents(one.loss, states)
                measured.append((one.loss(states), backward(one.recurrence, states, cotangents).gradient))
            return measured, jax.value_and_grad(loss)(params)

        measured, (value, gradient) = measure()
    assert len(set(names)) == len(measured) == COUNTS.get(name, 1)
    assert names == NAMES.get(name, names)
    for found, (found_value, found_gradient) in zip(names, measured, strict=True):
        np.testing.assert_allclose(found_value, value, rtol=1e-12)
        expected = named_leaves(part_of(gradient, found))
        for path, leaf in named_leaves(found_gradient).items():
            assert np.abs(leaf - expected[path]).max() <= 1e-12 * np.abs(expected[path]).max(), path


def test_a_model_without_a_recurrent_layer_has_no_recurrences():
    model = nn.Dense(2)
    params = model.init(jax.random.key(0), jnp.ones((1, 3)))
    assert find_recurrences(lambda: model.apply(params, jnp.ones((1, 3))).sum()) == []


def test_layers_under_a_transformation_are_refused_by_name():
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            def body(layer, outputs, _):
                return layer(outputs)[1], None

            scan = nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
            outputs, _ = scan(dl.Recurrent(dl.RNNCell(3)), inputs, None)
            return outputs.sum()

    model, inputs = Scanned(), INPUTS.astype("float32")
    params = jax.eval_shape(model.init, jax.random.key(0), inputs)
    with pytest.raises(ValueError, match=r"call: got the cell .* under a transformation of the model"):
        jax.eval_shape(
            lambda params: find_recurrences(lambda: model.apply(params, inputs))[0].loss(None), params
        )
