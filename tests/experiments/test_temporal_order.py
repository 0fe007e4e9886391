"""The temporal order experiment learns, its figure shows the accuracy, and remedies help the plain cell."""

import typing

import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.config import settings
from dlcore.training.contract import check_model
from experiments import temporal_order
from tests.helpers.experiment_runs import draw_untrained, train_experiment


def test_the_figure_shows_the_predictions():
    drawn, metrics = draw_untrained(temporal_order, length=10, features=4, test_examples=20)
    correct = round(metrics["accuracy"] * 20)
    assert drawn["confusion_matrix"].axes[0].get_title().startswith(f"{correct} of 20 correct")


@pytest.mark.slow
def test_a_short_run_learns(tmp_path):
    _, trained = train_experiment(
        temporal_order,
        tmp_path,
        length=10,
        features=16,
        train__steps=400,
        train__steps_per_call=20,
        optimizer__learning_rate=1e-2,
    )
    assert trained.evaluation["accuracy"] > 0.9


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_choice_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(temporal_order.Config)["cell"])
    check_model(temporal_order.experiment(temporal_order.Config(cell=cell, features=3, length=12)))


def test_bad_settings_are_refused_by_the_names_of_their_flags():
    with pytest.raises(ValueError, match=r"^--config.length: got 9, expected an integer >= 10"):
        settings.check(temporal_order.Config(length=9))
    config = temporal_order.Config(cell="rnn", forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(temporal_order.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0 for the cell 'rnn'")


@pytest.mark.parametrize("remedy", ["omega", "flossing"])
def test_every_remedy_fits(remedy):
    check_model(temporal_order.experiment(temporal_order.Config(remedy=remedy, features=3, length=12)))


@pytest.mark.slow
def test_a_remedy_lets_the_plain_cell_remember_for_thirty_steps(tmp_path):
    changes = {"cell": "rnn", "length": 30, "recurrent_scale": 0.5, "train__steps": 1500}
    reached = {}
    for remedy in ("none", "omega"):
        (tmp_path / remedy).mkdir()
        _, trained = train_experiment(temporal_order, tmp_path / remedy, remedy=remedy, **changes)
        reached[remedy] = trained.evaluation["accuracy"]
    assert reached["none"] < 0.5
    assert reached["omega"] > 0.9
