"""Each cell of a model is found, and what is measured along it adds up to the model's own gradient."""

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

LENGTHS = jnp.array([5, 0, 2, 4])
INPUTS = jax.random.normal(jax.random.key(1), (4, 5, 3))
WEIGHTS = jax.random.normal(jax.random.key(2), (4, 5, 1))

LAYERS = {
    "recurrent": lambda: dl.Recurrent(dl.GRUCell(4)),
    "reverse": lambda: dl.Recurrent(dl.LSTMCell(4), reverse=True),
    "bidirectional": lambda: dl.Bidirectional(dl.LSTMCell(4), dl.RNNCell(3)),
    "deep": lambda: dl.DeepRecurrent(dl.GRUCell(4), layers=3, residual=True),
    "deep, bidirectional": lambda: dl.DeepRecurrent(
        dl.RNNCell(4), layers=2, bidirectional=True, norm="layer"
    ),
    "flax's cell": lambda: dl.Recurrent(nn.OptimizedLSTMCell(4)),
    "layer norm": lambda: dl.Recurrent(dl.LayerNormGRUCell(4)),
}
COUNTS = {"bidirectional": 2, "deep": 3, "deep, bidirectional": 4}


class Model(nn.Module):
    layer: nn.Module

    @nn.compact
    def __call__(self, inputs, lengths):
        options = {"train": False} if isinstance(self.layer, dl.DeepRecurrent) else {}
        carry, outputs = self.layer(inputs, lengths, **options)
        last = sum(leaf.sum() for leaf in jax.tree.leaves(self.layer.hidden(carry)))
        return (jnp.sin(outputs) * WEIGHTS).sum() + last**2


def of_chain(params, name):
    """The part of the model's tree that a chain's name means."""
    number = None
    for part in name.split("/"):
        if part.isdigit():
            number = int(part)
        else:
            params = params[part]
    return params if number is None else jax.tree.map(lambda leaf: leaf[number], params)


CASES = [(name, LENGTHS) for name in LAYERS] + [("reverse", None), ("deep", None)]


@pytest.mark.parametrize(("name", "lengths"), CASES)
def test_the_chains_gradients_are_the_models(name, lengths):
    with jax.enable_x64(True):
        model, inputs = Model(LAYERS[name]()), INPUTS.astype("float64")
        variables = jax.jit(model.init)(jax.random.key(0), inputs, lengths)
        params = jax.tree.map(lambda leaf: leaf.astype("float64"), variables["params"])
        names = []

        @jax.jit
        def measured(params):
            found = find_recurrences(lambda: model.apply({"params": params}, inputs, lengths))
            names[:] = [chain.name for chain in found]
            states = [trajectory(chain.recurrence) for chain in found]
            return [
                (chain.loss(s), backward(chain.recurrence, s, state_cotangents(chain.loss, s)).gradient)
                for chain, s in zip(found, states, strict=True)
            ]

        found = measured(params)
        loss = lambda params: model.apply({"params": params}, inputs, lengths)
        whole, expected = jax.jit(jax.value_and_grad(loss))(params)
        assert len(set(names)) == len(found) == COUNTS.get(name, 1)
        for chain, (value, gradient) in zip(names, found, strict=True):
            np.testing.assert_allclose(value, whole, rtol=1e-12)
            own = named_leaves(of_chain(expected, chain))
            for path, leaf in named_leaves(gradient).items():
                assert np.abs(leaf - own[path]).max() <= 1e-12 * np.abs(own[path]).max(), path


def test_a_model_without_recurrence_has_no_chains():
    model = nn.Dense(2)
    params = model.init(jax.random.key(0), jnp.ones((1, 3)))
    assert find_recurrences(lambda: model.apply(params, jnp.ones((1, 3))).sum()) == []


def test_layers_that_cannot_be_told_apart_are_named():
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            def body(layer, outputs, _):
                return layer(outputs)[1], None

            scan = nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
            outputs, _ = scan(dl.Recurrent(dl.RNNCell(3)), inputs, None)
            return outputs.sum()

    model = Scanned()
    params = model.init(jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match=r"call: got the cell .* under a transformation of the model"):
        find_recurrences(lambda: model.apply(params, INPUTS))
