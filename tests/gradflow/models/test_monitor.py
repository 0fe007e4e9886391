"""Gradient norms by lag, logged while a model trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.cli import app, modes
from dlcore.gradflow.measures.lags import log_by_lag
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.gradflow.report.training_figures import plot_lags_in_training
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.telemetry.metrics_log import read_metrics
from tests.helpers import sequence_toy


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    config = sequence_toy.Config()
    config.train = dataclasses.replace(config.train, steps=9, monitor_every=4)
    experiment = app._monitored(sequence_toy.experiment(config), config)
    folder = tmp_path_factory.mktemp("run")
    engine = Engine(experiment, config)
    trained = loop.train(engine, folder)
    return read_metrics(folder / "metrics.csv"), experiment, loop.model_on_host(engine, trained.state)


def test_the_logged_norms_are_those_of_the_state_then(rows):
    rows, experiment, model = rows
    logged = {(step, name): value for step, name, value in rows if name.startswith("flow/")}
    assert {step for step, _ in logged} == {4, 8, 9}
    loss = modes.probe_loss(experiment)

    @jax.jit
    def by_lag(*model):
        (chain,) = find_recurrences(lambda: loss(*model))
        states = trajectory(chain.recurrence)
        return log_by_lag(chain.recurrence, states, state_cotangents(chain.loss, states), 4)

    expected = np.asarray(by_lag(*jax.tree.map(jnp.asarray, model))) / np.log(10)
    for lag in (0, 1, 2, 4):
        (value,) = [
            value for (step, name), value in logged.items() if step == 9 and name.endswith(f"lag_{lag}")
        ]
        assert value == pytest.approx(expected[lag], abs=1e-4)


def test_they_are_drawn_over_the_steps(rows):
    figure = plot_lags_in_training(rows[0])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "training step"
    labels = [line.get_label() for line in axes.lines]
    assert labels[:4] == ["lag 0", "lag 1", "lag 2", "lag 4"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [4, 8, 9])


def test_nothing_is_measured_unless_it_is_asked_for(make_toy):
    toy = make_toy()
    assert app._monitored(toy.experiment, toy.config) is toy.experiment
