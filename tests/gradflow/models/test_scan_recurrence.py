"""Scans of programs of any library are measured as a loop of single steps would be, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lags import log_by_lag
from dlcore.gradflow.measures.recurrence import state_cotangents, step_count, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.utils.trees import named_leaves
from tests.helpers.scanned_models import MODELS
from tests.helpers.step_by_step import assert_close, brute_force, norm

CASES = [name if name == "masked" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]


def measure(loss, params):
    """The loss of the states, the norms of signal, gradient and gradient by lag, and the gradient, of each scan."""
    measured = []
    for one in find_recurrences(loss, params):
        states = trajectory(one.recurrence)
        cotangents = state_cotangents(one.loss, states)
        flow = backward(one.recurrence, states, cotangents)
        lags = log_by_lag(one.recurrence, states, cotangents, step_count(one.recurrence) - 1)
        norms = map(jnp.exp, (flow.log_signal, flow.log_gradient, lags))
        measured.append([one.loss(states), *norms, flow.gradient])
    return measured


@pytest.mark.filterwarnings("ignore:gradient flow is not measured")  # along the inner scan of the nested one
@pytest.mark.parametrize("name", CASES)
def test_a_scan_is_measured_as_a_loop_of_single_steps(name):
    with jax.enable_x64(True):
        loss, params, loops = MODELS[name]()
        measured, gradient = jax.jit(lambda params: measure(loss, params))(params), jax.grad(loss)(params)
        expected, whole = [brute_force(loop) for loop in loops], named_leaves(gradient)
        assert len(measured) == len(expected)
        errors = []
        for (*norms, gradient), by_hand in zip(measured, expected, strict=True):
            for found, key in zip(norms, ("loss", "signal", "gradient", "by_lag"), strict=True):
                errors.append(assert_close(found, by_hand[key]))
            errors.append(assert_close(norm(gradient), norm(by_hand["total"])))
            for path, leaf in gradient.items():
                if not path.startswith("constant"):
                    errors.append(assert_close(leaf, whole[path]))
    print(f"{name}: {max(errors):.1e} {[list(gradient) for *_, gradient in measured]}")


@pytest.mark.slow
def test_a_layer_of_dlcore_has_the_same_flow_as_a_layer_and_as_a_scan():
    """The listener hears `dl.Recurrent`, whose cell `flax.linen.RNN` runs as a scan, and so does a jit around it."""
    inputs = np.random.default_rng(1).normal(size=(3, 4, 2))
    layers = [dl.Recurrent(dl.RNNCell(3, name="cell")), nn.RNN(dl.RNNCell(3, name="cell"), return_carry=True)]
    outputs = lambda layer, params: layer.apply({"params": params}, inputs, initial_carry=jnp.zeros((3, 3)))[
        1
    ]
    loss = lambda layer, params: jnp.sin(outputs(layer, params)).sum()
    with jax.enable_x64(True):
        shapes = jax.eval_shape(layers[0].init, jax.random.key(0), inputs)["params"]
        normal = np.random.default_rng(2).normal
        params = jax.tree.map(lambda leaf: jnp.asarray(normal(size=leaf.shape)), shapes)
        losses = [functools.partial(loss, layer) for layer in layers]
        losses.append(lambda params: jax.jit(jax.checkpoint(losses[0]))(params))
        ours, as_scan, hidden = jax.jit(lambda params: [measure(loss, params) for loss in losses])(params)
        for one, other in zip(ours[0][:-1], as_scan[0][:-1], strict=True):
            assert_close(other, one, 1e-14)
        assert list(as_scan[0][-1]) == [f"cell/{name}" for name in ours[0][-1]]
        assert_close(norm(as_scan[0][-1]), norm(ours[0][-1]), 1e-14)
        assert_close(hidden[0][1], ours[0][1], 1e-14)  # the signal
        assert_close(hidden[0][-1]["cell/recurrent_kernel"], ours[0][-1]["recurrent_kernel"], 1e-14)
