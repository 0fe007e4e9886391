"""The gradient's norm by lag, by itself and as a training logs it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures.lags import log_by_lag
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.gradflow.models.monitor import make_monitor
from dlcore.runs.probe import probe_loss, with_monitor
from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers import sequence_toy


class Halving(nn.RNNCellBase):
    """``s_t = s_{t-1} / 2 + w x_t``: the gradient halves with every step of the lag."""

    num_feature_axes = 1

    @nn.compact
    def __call__(self, state, inputs):
        state = state / 2 + self.param("w", nn.initializers.ones, ()) * inputs
        return state, state

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)


def test_the_norms_are_those_by_lag_for_the_lags_that_the_sequences_have():
    layer, inputs = dl.Recurrent(Halving()), jnp.ones((1, 6, 1))
    monitor = make_monitor(lambda params, _: layer.apply({"params": params}, inputs)[0].sum())
    found = monitor({"cell": {"w": jnp.ones(())}}, {})
    assert list(found) == [f"cell/log10_lag_{lag}" for lag in (0, 1, 2, 4)]
    np.testing.assert_allclose(list(found.values()), np.log10(0.5) * np.array([0, 1, 2, 4]), atol=1e-5)


def test_lags_that_a_truncated_layer_does_not_learn_are_left_out():
    layer, inputs = dl.Recurrent(Halving(), truncate=2), jnp.ones((1, 6, 1))
    found = make_monitor(lambda params, _: layer.apply({"params": params}, inputs)[0].sum())(
        {"cell": {"w": jnp.ones(())}}, {}
    )
    assert list(found) == ["cell/log10_lag_0", "cell/log10_lag_1"]
    np.testing.assert_allclose(list(found.values()), np.log10([1, 0.5]), atol=1e-5)


def test_a_layer_that_runs_twice_is_monitored_twice():
    layer, inputs = dl.Recurrent(Halving()), jnp.ones((1, 2, 1))
    run = lambda params, inputs: layer.apply({"params": params}, inputs)
    found = make_monitor(lambda params, _: run(params, run(params, inputs)[1])[0].sum())(
        {"cell": {"w": jnp.ones(())}}, {}
    )
    assert list(found) == [f"{name}/log10_lag_{lag}" for name in ("cell", "cell#2") for lag in (0, 1)]


def test_a_loss_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="loss: got 3, expected a function"):
        make_monitor(3)


def test_a_model_without_a_recurrent_layer_has_nothing_to_monitor():
    assert make_monitor(lambda params, _: params.sum())(jnp.ones(2), {}) == {}


def test_nothing_is_monitored_unless_the_config_asks(make_toy):
    toy = make_toy()
    assert with_monitor(toy.experiment, toy.config) is toy.experiment


@pytest.mark.slow
def test_training_logs_the_norms_of_its_state_at_that_step(tmp_path):
    config = sequence_toy.Config()
    config.train = dataclasses.replace(config.train, steps=9, monitor_every=4)
    experiment = with_monitor(sequence_toy.experiment(config), config)
    engine = Engine(experiment, config)
    trained = loop.train(engine, tmp_path)
    model = loop.model_on_host(engine, trained.state)
    rows = read_metrics(tmp_path / "metrics.csv")
    logged = {(step, name): value for step, name, value in rows if name.startswith("flow/")}
    assert {step for step, _ in logged} == {4, 8, 9}
    loss = probe_loss(experiment, config.gradient_flow)

    @jax.jit
    def by_lag(*model):
        (found,) = find_recurrences(lambda: loss(*model))
        states = trajectory(found.recurrence)
        return log_by_lag(found.recurrence, states, state_cotangents(found.loss, states), 4)

    expected = np.asarray(by_lag(*jax.tree.map(jnp.asarray, model))) / np.log(10)
    for lag in (0, 1, 2, 4):
        (name,) = {name for _, name in logged if name.endswith(f"lag_{lag}")}
        assert logged[9, name] == pytest.approx(expected[lag], abs=1e-4)
