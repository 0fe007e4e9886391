"""The temporal order problem is learned, and the figure says how well."""

import typing

import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import temporal_order


def train(folder, **settings):
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    config = settings.replace(temporal_order.Config(), settings)
    experiment = temporal_order.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def test_a_short_run_learns_and_its_figure_is_drawn(tmp_path):
    experiment, trained = train(
        tmp_path,
        length=10,
        features=16,
        train__steps=400,
        train__steps_per_call=20,
        optimizer__learning_rate=1e-2,
    )
    assert trained.evaluation["accuracy"] > 0.9
    (figure,) = experiment.figures(trained.state.params, trained.state.model_state).values()
    right = round(trained.evaluation["accuracy"] * 1000)
    assert figure.axes[0].get_title().startswith(f"{right} of 1000 right")
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_flag_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(temporal_order.Config)["cell"])
    check_model(temporal_order.experiment(temporal_order.Config(cell=cell, features=3, length=12)))


def test_bad_settings_are_refused_with_their_flags():
    with pytest.raises(ValueError, match=r"^--config.length: got 9, expected an integer >= 10"):
        settings.check(temporal_order.Config(length=9))
    config = temporal_order.Config(cell="rnn", forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(temporal_order.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0 for the cell 'rnn'")


@pytest.mark.parametrize("remedy", ["omega", "flossing"])
def test_a_remedy_is_a_flag_and_fits(remedy):
    check_model(temporal_order.experiment(temporal_order.Config(remedy=remedy, features=3, length=12)))


@pytest.mark.slow
def test_a_remedy_lets_the_plain_cell_carry_thirty_steps(tmp_path):
    settings = {"cell": "rnn", "length": 30, "recurrent_scale": 0.5, "train__steps": 1500}
    reached = {}
    for remedy in ("none", "omega"):
        (tmp_path / remedy).mkdir()
        _, trained = train(tmp_path / remedy, remedy=remedy, **settings)
        reached[remedy] = trained.evaluation["accuracy"]
    assert reached["none"] < 0.5
    assert reached["omega"] > 0.9


@pytest.mark.slow
def test_the_plain_cell_does_not_carry_fifty_steps(tmp_path):
    """Its gradient halves with every step, as its recurrent kernel does."""
    _, trained = train(tmp_path, cell="rnn", recurrent_scale=0.5, train__steps=3000)
    assert trained.evaluation["accuracy"] < 0.5
