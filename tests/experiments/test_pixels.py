"""Digits are learned as sequences, and the figure says which were mistaken."""

import typing

import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import pixels


def train(folder, **settings):
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    config = settings.replace(pixels.Config(), settings)
    experiment = pixels.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def test_a_short_run_learns_and_its_figure_is_drawn(tmp_path):
    experiment, trained = train(
        tmp_path, reading="rows", train__steps=300, train__steps_per_call=20, optimizer__learning_rate=5e-3
    )
    assert trained.evaluation["accuracy"] > 0.85
    (figure,) = experiment.figures(trained.state.params, trained.state.model_state).values()
    right = round(trained.evaluation["accuracy"] * 899)
    assert figure.axes[0].get_title().startswith(f"{right} of 899 right")
    figure.savefig(tmp_path / "figure.png")


def test_training_and_test_images_are_in_the_same_disorder():
    plain, permuted = (pixels.experiment(pixels.Config(permuted=permuted)) for permuted in (False, True))
    for name in ("train_data", "eval_data"):
        expected, got = (getattr(experiment, name)[0]["inputs"] for experiment in (plain, permuted))
        assert not np.array_equal(expected, got)
        np.testing.assert_array_equal(expected, undone(got))


def undone(permuted):
    """The order in which a counted image comes shows where each pixel went."""
    places = dl.data.as_sequences(np.arange(64).reshape(1, 8, 8, 1), permuted=True)[0, :, 0].astype(int)
    return permuted[:, np.argsort(places)]


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_flag_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(pixels.Config)["cell"])
    check_model(pixels.experiment(pixels.Config(cell=cell, features=3)))


@pytest.mark.parametrize(("reading", "shape"), [("pixels", (196, 1)), ("rows", (14, 14))])
def test_a_step_is_a_pixel_or_a_row(reading, shape):
    config = pixels.Config(reading=reading, data=pixels.DataConfig("mnist5k", shrink=2))
    assert pixels.experiment(config).train_data[0]["inputs"].shape == (64, *shape)


def test_bad_settings_are_refused_with_their_flags():
    config = pixels.Config(data=pixels.DataConfig(shrink=3))
    with pytest.raises(ValueError, match="shrink: got 3") as caught:
        pixels.experiment(config)
    assert name_flag(caught.value, config).startswith("--config.data.shrink: got 3 for images of 8 x 8")
    config = pixels.Config(forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(pixels.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0")
