"""The copy experiment learns, its figure shows the accuracy by place, and its settings reach the cell."""

import math
import typing

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.training.contract import check_model
from experiments import copy_memory
from tests.helpers.experiment_runs import draw_untrained, train_experiment


def chance(delay):
    """The loss of a model without memory."""
    return 10 * math.log(8) / (delay + 20)


@pytest.mark.slow
def test_the_figure_shows_the_predictions():
    drawn, metrics = draw_untrained(copy_memory, delay=1, features=4, test_examples=20)
    title = drawn["accuracy_by_place"].axes[0].get_title()
    assert title.startswith(f"{metrics['accuracy']:.2%} of places and ")


@pytest.mark.slow
def test_a_short_run_learns(tmp_path):
    _, trained = train_experiment(
        copy_memory,
        tmp_path,
        delay=1,
        features=64,
        train__steps=400,
        train__steps_per_call=20,
        optimizer__learning_rate=1e-2,
    )
    assert trained.evaluation["loss"] < chance(1) * 0.8


def test_the_loss_counts_all_symbols_and_the_accuracy_the_ten_copied():
    """The predictions are blanks at all places except the first copied symbol; the last row is masked."""
    labels = dl.data.copy_memory(np.random.default_rng(0), 3, delay=2)["labels"]
    predicted = np.full_like(labels, 8)
    predicted[:, -10] = labels[:, -10]
    batch = {"labels": labels, "mask": np.array([True, True, False])}
    logits = 30 * np.eye(9, dtype=np.float32)[predicted]
    logits[2] = np.nan
    loss, metrics = jax.jit(copy_memory.loss)(logits, batch)
    assert float(metrics["accuracy"].value()) == pytest.approx(1 / 10)
    assert float(loss) == pytest.approx(30 * 9 / 22, rel=1e-4)  # nine of 22 places cost 30 each


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_choice_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(copy_memory.Config)["cell"])
    check_model(copy_memory.experiment(copy_memory.Config(cell=cell, forget_bias=None, features=3, delay=2)))


@pytest.mark.slow
def test_the_forget_gate_starts_with_the_forget_bias():
    config = copy_memory.Config(cell="lstm", forget_bias=3.5, features=3, delay=2)
    experiment = copy_memory.experiment(config)
    params, _ = jax.jit(experiment.init)(jax.random.key(0), experiment.train_data[0])
    (bias,) = (leaf for path, leaf in jax.tree.leaves_with_path(params) if leaf.shape == (12,))
    assert bias.tolist() == [0] * 3 + [3.5] * 3 + [0] * 6


def test_bad_settings_are_refused_by_the_names_of_their_flags():
    with pytest.raises(ValueError, match=r"^--config.delay: got 0, expected an integer >= 1"):
        settings.check(copy_memory.Config(delay=0))
    config = copy_memory.Config(cell="residual", forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(copy_memory.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0 for the cell 'resid")


@pytest.mark.slow
def test_a_gate_that_forgets_as_slowly_as_the_delay_learns_soon(tmp_path):
    """After 700 steps its loss is below that of a model without memory."""
    changes = {"features": 64, "delay": 20, "forget_bias": math.log(20), "train__steps": 700}
    _, trained = train_experiment(copy_memory, tmp_path, cell="lstm", **changes)
    assert trained.evaluation["loss"] < 0.9 * chance(20)
