"""The copy task is learned, place by place, and the figure says which."""

import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import copy_memory


def train(folder, **settings):
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    config = settings.replace(copy_memory.Config(), settings)
    experiment = copy_memory.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def chance(delay):
    """The loss of who remembers nothing."""
    return 10 * math.log(8) / (delay + 20)


def test_a_short_run_learns_and_its_figure_is_drawn(tmp_path):
    experiment, trained = train(
        tmp_path,
        delay=1,
        features=64,
        train__steps=400,
        train__steps_per_call=20,
        optimizer__learning_rate=1e-2,
    )
    assert trained.evaluation["loss"] < chance(1) * 0.8
    (figure,) = experiment.figures(trained.state.params, trained.state.model_state).values()
    accuracy = trained.evaluation["accuracy"]
    assert figure.axes[0].get_title().startswith(f"{accuracy:.2%} of places right")
    figure.savefig(tmp_path / "figure.png")


def test_the_loss_is_of_all_symbols_and_the_accuracy_of_the_ten_copied():
    """Who says blank at every place with certainty, but for the first of the ten, in the rows that count."""
    labels = dl.data.copy_memory(np.random.default_rng(0), 3, delay=2)["labels"]
    said = np.full_like(labels, 8)
    said[:, -10] = labels[:, -10]
    batch = {"labels": labels, "mask": jnp.array([True, True, False])}
    logits = jax.nn.one_hot(said, 9) * 30
    loss, metrics = copy_memory.loss(logits.at[2].set(jnp.nan), batch)
    assert float(metrics["accuracy"].value()) == pytest.approx(1 / 10)
    assert float(loss) == pytest.approx(30 * 9 / 22, rel=1e-4)  # nine of 22 are wrong by 30


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_flag_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(copy_memory.Config)["cell"])
    check_model(copy_memory.experiment(copy_memory.Config(cell=cell, forget_bias=None, features=3, delay=2)))


def test_the_forget_bias_is_where_the_forget_gate_starts():
    config = copy_memory.Config(cell="lstm", forget_bias=3.5, features=3, delay=2)
    experiment = copy_memory.experiment(config)
    params, _ = experiment.init(jax.random.key(0), experiment.train_data[0])
    (bias,) = (leaf for path, leaf in jax.tree.leaves_with_path(params) if leaf.shape == (12,))
    assert bias.tolist() == [0] * 3 + [3.5] * 3 + [0] * 6


def test_bad_settings_are_refused_with_their_flags():
    with pytest.raises(ValueError, match=r"^--config.delay: got 0, expected an integer >= 1"):
        settings.check(copy_memory.Config(delay=0))
    config = copy_memory.Config(cell="residual", forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(copy_memory.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0 for the cell 'resid")


@pytest.mark.slow
def test_a_gate_that_forgets_as_slowly_as_the_wait_learns_soon(tmp_path):
    """After 700 steps it is below the loss of who remembers nothing."""
    settings = {"features": 64, "delay": 20, "forget_bias": math.log(20), "train__steps": 700}
    _, trained = train(tmp_path, cell="lstm", **settings)
    assert trained.evaluation["loss"] < 0.9 * chance(20)
