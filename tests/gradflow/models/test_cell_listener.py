"""The listener tells cells that a layer runs by itself from all others, which are scans or named with the reason."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.models.cell_listener import TRANSFORMED
from dlcore.gradflow.models.find_recurrences import find_recurrences, find_unmeasured

INPUTS, MEMORY = jnp.ones((2, 4, 3)), jnp.ones((2, 5, 6))


class FlaxRNN(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.RNN(dl.GRUCell(3), name="encoder")(inputs)


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        decoder = dl.AttentionDecoder(dl.GRUCell(3), dl.LuongAttention("general"), name="decoder")
        return decoder(inputs, MEMORY)[1]


class ByHand(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        cell = dl.LSTMCell(3, name="cell")
        carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
        for t in range(2):
            carry, outputs = cell(carry, inputs[:, t])
        return outputs


class OneStep(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        layer = dl.Recurrent(dl.GRUCell(3, name="cell"))
        return layer.step(layer.initialize_carry(inputs.shape), inputs[:, 0])[1]


class Transformed(nn.Module):
    transform: str

    @nn.compact
    def __call__(self, inputs):
        options = {"vmap": {"variable_axes": {"params": None}, "split_rngs": {"params": False}}}
        layer = getattr(nn, self.transform)(dl.Recurrent, **options.get(self.transform, {}))
        return layer(dl.GRUCell(3, name="cell"), name="layer")(inputs)[1]


class SumCell(nn.RNNCellBase):
    """A cell that runs all steps at once, without a loop."""

    num_feature_axes = 1

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)

    def __call__(self, carry, inputs):
        return carry + inputs, carry + inputs

    def sequence(self, carry, inputs, lengths, loop, *, train):
        outputs = carry[:, None] + jnp.cumsum(inputs, axis=1)
        return outputs[:, -1], outputs


class Parallel(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.remat(dl.Recurrent)(SumCell(name="cell"), name="layer")(inputs)[1]


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        scan = nn.scan(
            lambda layer, outputs, _: (layer(outputs)[1], None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=2,
        )
        return scan(dl.Recurrent(dl.RNNCell(3, name="cell")), inputs, None)[0]


MODELS = {
    "flax's RNN": (FlaxRNN(), 1, []),
    "a decoder": (Decoder(), 1, []),
    "steps by hand": (ByHand(), 0, ["cell (LSTMCell run step by step by ByHand, outside of a scan)"]),
    "a step of a layer": (OneStep(), 0, ["cell (GRUCell run step by step by Recurrent, outside of a scan)"]),
    "remat": (Transformed("remat"), 1, []),
    "jit": (Transformed("jit"), 1, []),
    "vmap": (Transformed("vmap"), 1, []),
    "scan": (Scanned(), 1, ["each step of Scanned contains it"]),
    "remat without a scan": (Parallel(), 0, [f"cell (SumCell {TRANSFORMED})"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_cell_that_no_layer_runs_by_itself_is_found_in_a_scan_or_named_with_the_reason(name):
    model, scans, expected = MODELS[name]
    params = jax.eval_shape(model.init, jax.random.key(0), INPUTS)
    listed, found = [], []

    def call(params):
        loss = lambda params: model.apply(params, INPUTS).sum()
        listed.extend(find_unmeasured(loss, params))
        found.extend(find_recurrences(loss, params))

    with warnings.catch_warnings(action="ignore"):
        jax.eval_shape(call, params)
    assert len(found) == scans
    assert all(one.cell is None for one in found)
    assert len(listed) == len(expected)
    assert all(text in line for text, line in zip(expected, listed, strict=True))


class Stacked(nn.Module):
    lower: nn.Module
    upper: nn.Module

    def __call__(self, inputs):
        return self.upper(self.lower(inputs)[1])[1].sum()


def test_all_cells_of_recurrent_layers_are_measured():
    """The cells within a FeedbackCell, and the layers of a stack, which a scan of its own runs."""
    model = Stacked(
        dl.Recurrent(dl.FeedbackCell([dl.GRUCell(3), dl.RNNCell(3)])),
        dl.DeepRecurrent(dl.GRUCell(3), layers=3, bidirectional=True),
    )
    params = jax.eval_shape(model.init, jax.random.key(0), INPUTS)
    listed = []

    def call(params):
        listed.extend(find_unmeasured(lambda: model.apply(params, INPUTS)))
        assert len(find_recurrences(lambda: model.apply(params, INPUTS))) == 7

    jax.eval_shape(call, params)
    assert listed == []
