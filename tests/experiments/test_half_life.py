"""A configuration of the sweep is measured and trained as it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.gradflow.measures.jacobians import log_products_by_probes
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.sweep import execute
from experiments import half_life
from experiments.half_life import Config, Measure

SLOW = pytest.mark.slow  # compilation
SMALL = {"length": 10, "steps": 3, "seeds": (1,)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    config = Config(cells=("lstm",), scales=(0.5, 1.0), forget_biases=(0.0, 2.0), clip_norms=(0.05,), **SMALL)
    return execute.run(half_life.plan(config), tmp_path_factory.mktemp("sweep") / "sweep.csv")


@SLOW
def test_a_configuration_has_what_a_plain_training_loop_gives(rows):
    """Scale 0.5 and forget bias 2; the half-life is fitted by NumPy."""
    config, experiment = Measure("temporal_order", "lstm", 10, 3).experiment(seed=1)
    batches, (test,) = [experiment.train_data[step] for step in range(3)], experiment.eval_data
    few = {name: field[:8] for name, field in batches[0].items()}
    optimizer = optax.chain(optax.clip_by_global_norm(0.05), optax.adam(1e-3))

    def loss(params, batch):
        return experiment.loss(params, {}, batch, jax.random.key(0), False)

    @jax.jit
    def measure():
        params, _ = experiment.init(jax.random.key(1), batches[0])
        cell = params["LSTMCell_0"]
        bias = cell["bias"].at[50:100].set(2.0)
        cell = {**cell, "recurrent_kernel": 0.5 * cell["recurrent_kernel"], "bias": bias}
        params = {**params, "LSTMCell_0": cell}
        (found,) = find_recurrences(lambda: loss(params, few)[0])
        gains = log_products_by_probes(found.recurrence)
        state = optimizer.init(params)
        for batch in batches:
            gradient = jax.grad(lambda params, batch=batch: loss(params, batch)[0])(params)
            updates, state = optimizer.update(gradient, state)
            params = optax.apply_updates(params, updates)
        return gains, loss(params, test)[1][1]["accuracy"].value()

    gains, accuracy = jax.device_get(measure())
    rate = np.polyfit(np.arange(len(gains)), np.log((np.exp(gains) ** 2).mean(axis=1)) / 2, 1)[0]
    (row,) = (row for row in rows if (row["scale"], row["forget_bias"]) == ("0.5", "2.0"))
    assert len(rows) == 4
    assert float(row["gain_half_life"]) == pytest.approx(np.log(2) / -rate, rel=1e-3)
    assert float(row["accuracy"]) == pytest.approx(
        float(accuracy), abs=0.003
    )  # rounding may turn one of 1000
    assert config.train.steps == 3


@SLOW
def test_an_open_forget_gate_and_a_larger_kernel_remember_longer(rows):
    found = {(row["forget_bias"], row["scale"]): float(row["gain_half_life"]) for row in rows}
    assert found["0.0", "0.5"] < found["0.0", "1.0"] < found["2.0", "1.0"]
    assert found["0.0", "0.5"] < found["2.0", "0.5"]


def check_figure(rows, drawn):
    figure = drawn(half_life.figures([*rows, {**rows[0], "cell": "gru", "gain_half_life": "inf"}])["success"])
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    expected = sorted(float(row["gain_half_life"]) / 10 for row in rows)
    np.testing.assert_allclose(sorted(lines["lstm"].get_xdata()), expected)
    assert "gru, 1 without decay at the right" in lines
    assert axes.get_xlabel() == "gain half-life at initialization / T"


def test_the_figure_shows_every_configuration_by_cell(drawn):
    shared = {"task": "temporal_order", "cell": "lstm", "length": "10", "accuracy": "0.5"}
    check_figure([{**shared, "gain_half_life": value} for value in ("3.5", "1.25", "8.0", "2.0")], drawn)


@SLOW
def test_the_figure_shows_a_measured_sweep(rows, drawn):
    check_figure(rows, drawn)


@pytest.mark.parametrize(
    "task", [pytest.param("adding", marks=SLOW), pytest.param("copy_memory", marks=SLOW), "temporal_order"]
)
def test_every_task_has_both_measures(task):
    measure = Measure(task, "gru", 10, 2)
    numbers = {"scale": jnp.float32(1), "clip_norm": jnp.float32(1)}
    shapes = jax.eval_shape(measure, half_life.data(measure, 0), numbers)
    assert {name: value.shape for name, value in shapes.items()} == dict.fromkeys(half_life.MEASURES, ())
