"""The pixels experiment learns, its figure shows its predictions, and its settings shape the sequences."""

import typing

import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.errors import name_flag
from dlcore.training.contract import check_model
from experiments import pixels
from tests.helpers.experiment_runs import draw_untrained, train_experiment


@pytest.mark.slow
def test_the_figure_shows_the_predictions():
    drawn, metrics = draw_untrained(pixels, reading="rows", features=4, train__eval_batch_size=899)
    correct = round(metrics["accuracy"] * 899)
    assert drawn["confusion_matrix"].axes[0].get_title().startswith(f"{correct} of 899 correct")


@pytest.mark.slow
def test_a_short_run_learns(tmp_path):
    _, trained = train_experiment(
        pixels,
        tmp_path,
        reading="rows",
        train__steps=300,
        train__steps_per_call=20,
        optimizer__learning_rate=5e-3,
    )
    assert trained.evaluation["accuracy"] > 0.85


def test_training_and_test_images_have_the_same_permutation():
    data = pixels.DataConfig(noise=0.0)
    plain, permuted = (
        pixels.experiment(pixels.Config(permuted=permuted, data=data)) for permuted in (False, True)
    )
    for name in ("train_data", "eval_data"):
        expected, got = (getattr(experiment, name)[0]["inputs"] for experiment in (plain, permuted))
        assert not np.array_equal(expected, got)
        np.testing.assert_array_equal(expected, restored(got))


def restored(permuted):
    """Undoes the permutation, which an image of counted pixels shows."""
    places = dl.data.as_sequences(np.arange(64).reshape(1, 8, 8, 1), permuted=True)[0, :, 0].astype(int)
    return permuted[:, np.argsort(places)]


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_is_a_choice_and_fits(cell):
    assert cell in typing.get_args(typing.get_type_hints(pixels.Config)["cell"])
    check_model(pixels.experiment(pixels.Config(cell=cell, features=3)))


def test_a_convolution_stack_reads_in_place_of_a_cell():
    check_model(pixels.experiment(pixels.Config(model="convolution", features=3)))


@pytest.mark.parametrize(("reading", "shape"), [("pixels", (196, 1)), ("rows", (14, 14))])
def test_a_step_is_a_pixel_or_a_row(reading, shape):
    config = pixels.Config(reading=reading, data=pixels.DataConfig("mnist5k", shrink=2))
    assert pixels.experiment(config).train_data[0]["inputs"].shape == (64, *shape)


def test_bad_settings_are_refused_by_the_names_of_their_flags():
    config = pixels.Config(data=pixels.DataConfig(shrink=3))
    with pytest.raises(ValueError, match="shrink: got 3") as caught:
        pixels.experiment(config)
    assert name_flag(caught.value, config).startswith("--config.data.shrink: got 3 for images of 8 x 8")
    config = pixels.Config(forget_bias=1.0)
    with pytest.raises(ValueError, match=r"forget_bias: got 1\.0") as caught:
        check_model(pixels.experiment(config))
    assert name_flag(caught.value, config).startswith("--config.forget_bias: got 1.0")
