"""The CIFAR-10 experiment trains and draws its figures on small files of random pixels."""

import numpy as np
import pytest

from dlcore.training import loop
from dlcore.training.contract import check_model
from dlcore.training.engine import Engine
from experiments import cifar10
from tests.helpers.cifar10_files import write_cifar10


@pytest.fixture
def folder(tmp_path):
    """A folder of CIFAR-10's files with four random images each."""
    write_cifar10(tmp_path)
    return tmp_path


def make_config(folder):
    config = cifar10.Config(features=(4, 4, 4), data=cifar10.DataConfig(str(folder)))
    config.train.steps, config.train.batch_size, config.optimizer.warmup_steps = 2, 5, 1
    return config


def test_the_model_fits_the_images(folder):
    experiment = cifar10.experiment(make_config(folder))
    check_model(experiment)
    assert experiment.train_data[0]["inputs"].shape == (5, 32, 32, 3)
    assert not np.array_equal(
        experiment.train_data[0]["inputs"], experiment.train_data[4]["inputs"]
    )  # augmented


@pytest.mark.slow
def test_it_trains_and_draws(folder, tmp_path):
    config = make_config(folder)
    experiment = cifar10.experiment(config)
    (tmp_path / "run").mkdir()
    trained = loop.train(Engine(experiment, config), tmp_path / "run")
    assert np.isfinite(trained.evaluation["loss"])
    figures = experiment.figures(trained.state.params, trained.state.model_state)
    assert figures["confusion_matrix"].axes[0].get_title().split()[2] == "4"
