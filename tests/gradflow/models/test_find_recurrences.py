"""Cells and other scans are found together, in their order, and what is not measured is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences, find_unmeasured

INPUTS = np.random.default_rng(1).normal(size=(4, 5, 3))


def test_a_model_without_a_recurrent_layer_has_no_recurrences():
    model = nn.Dense(2)
    params = model.init(jax.random.key(0), jnp.ones((1, 3)))
    assert find_recurrences(lambda: model.apply(params, jnp.ones((1, 3))).sum()) == []


class Twice(nn.Module):
    """The same layer on the inputs, and again on its own outputs."""

    @nn.compact
    def __call__(self, inputs):
        layer = dl.Recurrent(dl.RNNCell(3))
        return (layer(layer(inputs)[1])[0] ** 2).sum()


def test_a_layer_that_runs_twice_has_two_recurrences_that_add_up():
    with jax.enable_x64(True):
        model, inputs = Twice(), jnp.asarray(INPUTS)
        params = model.init(jax.random.key(0), inputs)["params"]
        params = jax.tree.map(lambda leaf: leaf.astype("float64"), params)
        loss = lambda params: model.apply({"params": params}, inputs)
        names = []

        @jax.jit
        def gradients(params):
            found = find_recurrences(lambda: loss(params))
            names.extend(one.name for one in found)
            return [gradient_of(one) for one in found], jax.grad(loss)(params)

        parts, whole = jax.device_get(gradients(params))
    assert names == ["RNNCell_0", "RNNCell_0#2"]
    (whole,) = whole.values()
    close = lambda total, *shares: np.testing.assert_allclose(sum(shares), total, rtol=1e-12, atol=1e-13)
    jax.tree.map(close, whole, *parts)


def gradient_of(found):
    states = trajectory(found.recurrence)
    return backward(found.recurrence, states, state_cotangents(found.loss, states)).gradient


class Mixed(nn.Module):
    """Scans of flax around a layer of dlcore, and a cell that runs step by step."""

    @nn.compact
    def __call__(self, inputs):
        outputs = nn.RNN(nn.GRUCell(3), name="first")(inputs)
        outputs = dl.Recurrent(dl.RNNCell(3, name="cell"))(outputs)[1]
        scan = nn.RNN(nn.SimpleCell(3), name="last", reverse=True)
        cell = nn.GRUCell(2, name="by_hand")
        carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
        return scan(scan(outputs)).sum() + cell(carry, inputs[:, 0])[1].sum()


BY_HAND = "by_hand (GRUCell run step by step by Mixed, outside of a scan)"


def test_cells_and_scans_are_found_in_the_order_in_which_they_run():
    model, inputs = Mixed(), INPUTS.astype("float32")
    params = jax.eval_shape(model.init, jax.random.key(0), inputs)
    found = []

    def find(params):
        found.extend(find_recurrences(model.apply, params, inputs))
        assert find_unmeasured(model.apply, params, inputs) == [BY_HAND]

    with pytest.warns(UserWarning, match="gradient flow is not measured along by_hand"):
        jax.eval_shape(find, params)
    assert [one.name for one in found] == ["Mixed/first", "cell", "Mixed/last", "Mixed/last#2"]
    assert [one.cell is None for one in found] == [True, False, True, True]
    assert all(one.source.startswith("test_find_recurrences.py:") for one in found if one.cell is None)


def test_a_scan_in_reverse_says_so():
    step = lambda state, x: (0.5 * state + x, None)
    loss = lambda xs, reverse: jax.lax.scan(step, jnp.zeros(()), xs, reverse=reverse)[0]
    found = [
        find_recurrences(lambda xs, reverse=reverse: loss(xs, reverse), jnp.arange(1.0, 4))[0]
        for reverse in (False, True)
    ]
    assert [one.reverse for one in found] == [False, True]
    assert trajectory(found[1].recurrence)[0][:, 0].tolist() == [0, 3, 3.5, 2.75]


@pytest.mark.parametrize("call", [None, "loss"])
def test_a_call_that_is_no_function_is_refused(call):
    with pytest.raises(TypeError, match=r"call: got .*, expected a function such as lambda: loss"):
        find_recurrences(call)
    with pytest.raises(TypeError, match=r"call: got .*, expected a function such as lambda: loss"):
        find_unmeasured(call)
