"""A run: an experiment with its config and folder."""

import dataclasses
from pathlib import Path

import pytest

from dlcore.training.run import Run
from tests.helpers import plain_toy


def make_run(**train):
    config = plain_toy.Config()
    config.train = dataclasses.replace(config.train, **train)
    return Run(plain_toy.experiment(config), config, Path("folder"))


def test_the_engine_is_made_once_for_the_runs_experiment_and_config():
    run = make_run()
    assert run.engine is run.engine
    assert run.engine.experiment is run.experiment
    assert run.engine.config == run.config
    assert (run.checkpoint, run.profile) == ("newest", None)


def test_another_checkpoint_is_another_run():
    run = make_run()
    other = dataclasses.replace(run, checkpoint="best")
    assert (run.checkpoint, other.checkpoint) == ("newest", "best")
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.checkpoint = 3


def test_settings_that_do_not_fit_are_refused_when_the_engine_is_made():
    run = make_run(micro_batches=3)
    with pytest.raises(ValueError, match="micro_batches: got 3"):
        _ = run.engine
