"""Tracing a model finds its layers and where the parameters of their cells lie."""

import jax.numpy as jnp
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.convert.modules import trace_model

X = jnp.ones((2, 4, 3))


class Compact(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, scale):
        stack = dl.ConvStack([dl.ConvBlock(4, (3,), pool=None, norm="batch")])
        _, states = dl.Stateful(dl.Recurrent(dl.RNNCell(3)))(stack(inputs))
        _, states = dl.Bidirectional(dl.RNNCell(3), dl.RNNCell(3))(states)
        return scale * dl.DeepRecurrent(dl.RNNCell(3), layers=1)(states)[1]


class Setup(nn.Module):
    def setup(self):
        self.rnn = dl.Recurrent(dl.RNNCell(3))

    def __call__(self, inputs):
        return self.rnn(inputs)[1]


def test_cells_of_a_compact_method_belong_to_the_module_around_the_layer():
    model = trace_model(Compact(), (X,), {"scale": 2})
    parts = {path: dict(layer.parts) for path, layer in model.layers.items() if layer.parts}
    assert parts["Stateful_0"] == {"cell": "RNNCell_0"}
    assert parts["RNNCell_1"] == {"cell": "RNNCell_1"}
    assert parts["Bidirectional_0"] == {"forward": "RNNCell_1", "backward": "RNNCell_2"}
    assert parts["DeepRecurrent_0"] == {"first": "DeepRecurrent_0/first"}
    assert isinstance(model.layers["ConvStack_0/block_0/conv_0"].module, dl.Conv)
    for layer in model.layers.values():
        for place in layer.parts.values():
            assert any(name.startswith(f"params/{place}/") for name in model.shapes)
    assert model.shapes["batch_stats/ConvStack_0/block_0/norm_0/mean"].shape == (4,)
    assert not any(name.startswith("carry/") for name in model.shapes)


def test_cells_of_setup_belong_to_the_layer_and_a_layer_may_be_the_model():
    assert trace_model(Setup(), (X,), {}).layers["rnn"].parts == {"cell": "rnn/cell"}
    assert trace_model(dl.Recurrent(dl.RNNCell(3)), (X,), {}).layers[""].parts == {"cell": "cell"}
    deep = trace_model(dl.DeepRecurrent(dl.RNNCell(3), layers=2), (X,), {}).layers[""]
    assert deep.parts == {"first": "first", "upper": "upper"}
    other = trace_model(dl.Recurrent(nn.SimpleCell(3)), (X,), {}).layers[""]
    assert other.cell is None


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="model: got 3, expected a linen module"):
        trace_model(3, (X,), {})
