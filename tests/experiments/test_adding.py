"""The adding problem is learned, and the figure says how well."""

import typing

import jax
import jax.numpy as jnp
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import adding

CHANCE = 1 / 6


def train(folder, **settings):
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    config = settings.replace(adding.Config(), settings)
    experiment = adding.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def test_a_short_run_learns_and_its_figure_is_drawn(tmp_path):
    experiment, trained = train(
        tmp_path,
        length=8,
        features=16,
        train__steps=600,
        train__steps_per_call=20,
        optimizer__learning_rate=1e-2,
    )
    error = trained.evaluation["mean_squared_error"]
    assert error == trained.evaluation["loss"] < CHANCE / 10
    (figure,) = experiment.figures(trained.state.params, trained.state.model_state).values()
    assert figure.axes[0].get_title() == f"mean squared error {error:.2g} over 1000"
    figure.savefig(tmp_path / "figure.png")


def test_right_is_an_error_below_four_hundredths():
    batch = {"targets": jnp.array([1.0, 1.0, 1.0, 1.0]), "mask": jnp.array([True, True, True, False])}
    _, metrics = adding.loss(jnp.array([1.0, 1.03, 0.95, 1.0]), batch)
    assert float(metrics["accuracy"].value()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_flag_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(adding.Config)["cell"])
    check_model(adding.experiment(adding.Config(cell=cell, features=3, length=5)))


def test_the_input_kernel_starts_with_its_deviation():
    config = adding.Config(cell="identity", input_deviation=0.1, features=2000, length=2)
    experiment = adding.experiment(config)
    params, _ = experiment.init(jax.random.key(0), experiment.train_data[0])
    (kernel,) = (leaf for leaf in jax.tree.leaves(params) if leaf.shape == (2, 2000))
    assert float(kernel.std()) == pytest.approx(0.1, rel=0.1)


def test_bad_settings_are_refused_with_their_flags():
    with pytest.raises(ValueError, match=r"^--config.length: got 1, expected an integer >= 2"):
        settings.check(adding.Config(length=1))
    config = adding.Config(cell="gru", forget_bias=4.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 4\.0") as caught:
        check_model(adding.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 4.0 for the cell 'gru'")


@pytest.mark.slow
def test_a_gru_carries_fifty_steps(tmp_path):
    """Who knows one of the numbers has 1/12, who knows neither 1/6."""
    _, trained = train(tmp_path, cell="gru", length=50, train__steps=1500)
    assert trained.evaluation["mean_squared_error"] < 0.01
