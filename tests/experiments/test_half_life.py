"""A configuration of the sweep is measured and trained as it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.sweep import execute
from experiments import half_life
from experiments.half_life import Config, Measure

SMALL = {"length": 10, "steps": 3, "seeds": (1,)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    config = Config(cells=("lstm",), scales=(0.5, 1.0), forget_biases=(0.0, 2.0), clip_norms=(0.05,), **SMALL)
    return execute.run(half_life.plan(config), tmp_path_factory.mktemp("sweep") / "sweep.csv")


def test_it_is_what_one_finds_alone(rows):
    measure = Measure("temporal_order", "lstm", 10, 3)
    config, experiment = measure.experiment(seed=1)
    params, _ = experiment.init(jax.random.key(1), experiment.train_data[0])
    cell = params["LSTMCell_0"]
    cell["recurrent_kernel"] *= 0.5
    cell["bias"] = cell["bias"].at[50:100].set(2.0)
    few = {name: field[:8] for name, field in experiment.train_data[0].items()}
    loss = lambda params, batch: experiment.loss(params, {}, batch, jax.random.key(0), False)
    (flow,) = measure(lambda params: loss(params, few)[0])(params)

    optimizer = optax.chain(optax.clip_by_global_norm(0.05), optax.adam(1e-3))
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(lambda params, batch: loss(params, batch)[0]))
    for step in range(3):
        updates, state = optimizer.update(gradient(params, experiment.train_data[step]), state)
        params = optax.apply_updates(params, updates)
    (test,) = experiment.eval_data
    accuracy = loss(params, test)[1][1]["accuracy"].value()

    (row,) = (row for row in rows if (row["scale"], row["forget_bias"]) == ("0.5", "2.0"))
    assert len(rows) == 4
    assert float(row["half_life"]) == pytest.approx(flow.half_life, rel=1e-3)
    assert float(row["accuracy"]) == pytest.approx(
        float(accuracy), abs=0.003
    )  # rounding may turn one of 1000
    assert config.train.steps == 3


def test_an_open_forget_gate_and_a_larger_kernel_remember_longer(rows):
    found = {(row["forget_bias"], row["scale"]): float(row["half_life"]) for row in rows}
    assert found["0.0", "0.5"] < found["0.0", "1.0"] < found["2.0", "1.0"]
    assert found["0.0", "0.5"] < found["2.0", "0.5"]


def test_the_figure_shows_every_configuration_by_cell(rows, tmp_path):
    figure = half_life.figures([*rows, {**rows[0], "cell": "gru", "half_life": "inf"}])["success"]
    figure.savefig(tmp_path / "figure.png")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(
        sorted(lines["lstm"].get_xdata()), sorted(float(row["half_life"]) / 10 for row in rows)
    )
    assert "gru, 1 without decay at the right" in lines


@pytest.mark.parametrize("task", half_life.TASKS)
def test_every_task_fits(task):
    measure = Measure(task, "gru", 10, 2)
    shapes = jax.eval_shape(
        measure, half_life.data(measure, 0), {"scale": jnp.float32(1), "clip_norm": jnp.float32(1)}
    )
    assert {name: value.shape for name, value in shapes.items()} == dict.fromkeys(half_life.MEASURES, ())
