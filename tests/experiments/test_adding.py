"""The adding experiment learns, its figure shows the error, and its settings reach the cell."""

import typing

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.training.contract import check_model
from experiments import adding
from tests.helpers.experiment_runs import train_experiment

CHANCE = 1 / 6


@pytest.mark.slow
def test_a_short_run_learns_and_draws_its_figure(tmp_path):
    experiment, trained = train_experiment(
        adding,
        tmp_path,
        length=4,
        features=8,
        test_examples=100,
        train__steps=300,
        train__steps_per_call=50,
        optimizer__learning_rate=1e-2,
    )
    error = trained.evaluation["mean_squared_error"]
    assert error == trained.evaluation["loss"] < CHANCE / 10
    (figure,) = experiment.figures(trained.state.params, trained.state.model_state).values()
    assert figure.axes[0].get_title() == f"mean squared error {error:.2g} over 100 examples"


def test_an_answer_is_correct_if_its_error_is_below_0_04():
    batch = {"targets": np.ones(4, np.float32), "mask": np.array([True, True, True, False])}
    _, metrics = jax.jit(adding.loss)(np.float32([1.0, 1.03, 0.95, 1.0]), batch)
    assert float(metrics["accuracy"].value()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_choice_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(adding.Config)["cell"])
    check_model(adding.experiment(adding.Config(cell=cell, features=3, length=5)))


def test_the_input_kernel_starts_with_its_standard_deviation():
    config = adding.Config(cell="identity", input_deviation=0.1, features=2000, length=2)
    experiment = adding.experiment(config)
    params, _ = jax.jit(experiment.init)(jax.random.key(0), experiment.train_data[0])
    (kernel,) = (leaf for leaf in jax.tree.leaves(params) if leaf.shape == (2, 2000))
    assert float(kernel.std()) == pytest.approx(0.1, rel=0.1)


def test_bad_settings_are_refused_by_the_names_of_their_flags():
    with pytest.raises(ValueError, match=r"^--config.length: got 1, expected an integer >= 2"):
        settings.check(adding.Config(length=1))
    config = adding.Config(cell="gru", forget_bias=4.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 4\.0") as caught:
        check_model(adding.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 4.0 for the cell 'gru'")


@pytest.mark.slow
def test_a_gru_remembers_for_thirty_steps(tmp_path):
    """A model that remembers one of the numbers has the error 1/12, and one that remembers neither 1/6."""
    _, trained = train_experiment(adding, tmp_path, cell="gru", length=30, train__steps=700)
    assert trained.evaluation["mean_squared_error"] < 0.01
