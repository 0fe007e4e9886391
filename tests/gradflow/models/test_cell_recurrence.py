"""The gradients along all cells that recurrent layers run are the model's own gradient."""

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
MASK = np.array([[0, 1, 0, 1, 1], [1] * 5, [0] * 5, [1, 0, 0, 1, 0]], bool)


class Masked(nn.Module):
    """A layer whose rows have gaps."""

    layer: nn.Module

    def __call__(self, inputs, lengths, **options):
        return self.layer(inputs, lengths, mask=MASK, **options)

    def hidden(self, carry):
        return self.layer.hidden(carry)


LAYERS = {
    "recurrent": lambda: dl.Recurrent(dl.GRUCell(4)),
    "reverse": lambda: dl.Recurrent(dl.RNNCell(4), reverse=True),
    "bidirectional": lambda: dl.Bidirectional(dl.LSTMCell(4), dl.RNNCell(3)),
    "deep": lambda: dl.DeepRecurrent(dl.RNNCell(4), layers=3, residual=True),
    "deep, bidirectional": lambda: dl.DeepRecurrent(
        dl.RNNCell(4), layers=2, bidirectional=True, norm="layer"
    ),
    "flax's cell": lambda: dl.Recurrent(nn.OptimizedLSTMCell(4)),
    "feedback": lambda: dl.Recurrent(dl.FeedbackCell([dl.RNNCell(3), dl.GRUCell(4)])),
    "layer norm": lambda: dl.Recurrent(dl.LayerNormGRUCell(4)),
    "masked, deep": lambda: Masked(dl.DeepRecurrent(dl.RNNCell(4), layers=2)),
}
NAMES = {
    "bidirectional": ["layer/forward", "layer/backward"],
    "deep": ["layer/first/cell", "layer/upper/0/layer/cell", "layer/upper/1/layer/cell"],
}
COUNTS = {"bidirectional": 2, "deep": 3, "deep, bidirectional": 4, "masked, deep": 2}
QUICK = [("reverse", None), ("feedback", None)]
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


def gradient_of(found):
    states = trajectory(found.recurrence)
    return backward(found.recurrence, states, state_cotangents(found.loss, states)).gradient


def test_the_recurrence_of_a_masked_layer_has_its_valid_steps_alone():
    """So lags count valid steps; a reversed layer reads them from the last to the first."""
    layer, inputs = dl.Recurrent(dl.RNNCell(3), reverse=True), INPUTS.astype("float32")
    shapes = jax.eval_shape(layer.init, jax.random.key(0), inputs)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)

    @jax.jit
    def found():
        (one,) = find_recurrences(lambda: layer.apply(params, inputs, mask=MASK)[1].sum())
        return one.recurrence.inputs, one.recurrence.lengths

    read, lengths = jax.device_get(found())
    assert lengths.tolist() == MASK.sum(1).tolist()
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(read[:length, row], inputs[row, MASK[row]][::-1])


class Truncated(nn.Module):
    """A truncated layer whose outputs and last carry both count."""

    reverse: bool

    @nn.compact
    def __call__(self, inputs, lengths):
        layer = dl.Recurrent(dl.RNNCell(3), reverse=self.reverse, truncate=3)
        carry, outputs = layer(inputs, lengths)
        return (jnp.sin(outputs) * jnp.arange(1.0, 1 + outputs.shape[1])[:, None]).sum() + (carry**2).sum()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, (10, 0, 2, 6)])
def test_the_gradients_of_a_truncated_layer_are_the_models(reverse, lengths):
    """Windows of three steps in ten; the whole gradient differs by far."""
    with jax.enable_x64(True):
        model, lengths = Truncated(reverse), None if lengths is None else jnp.array(lengths)
        inputs = jnp.asarray(GENERATOR.normal(size=(4, 10, 3)))
        params = model.init(jax.random.key(0), inputs, lengths)["params"]
        params = jax.tree.map(lambda leaf: leaf.astype("float64"), params)
        loss = lambda params: model.apply({"params": params}, inputs, lengths)

        @jax.jit
        def gradients(params):
            (found,) = find_recurrences(lambda: loss(params))
            whole = found._replace(recurrence=found.recurrence._replace(cuts=None))
            return gradient_of(found), gradient_of(whole), jax.grad(loss)(params)["RNNCell_0"]

        ours, whole, expected = jax.device_get(gradients(params))
    close = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    jax.tree.map(close, ours, expected)
    kernel = "recurrent_kernel"
    assert np.linalg.norm(whole[kernel] - ours[kernel]) > 0.05 * np.linalg.norm(ours[kernel])
