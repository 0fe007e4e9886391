"""The config of a run: durations become steps, and an optimizer of the experiment's own has a name."""

import dataclasses

import optax
import pytest

import dlcore as dl
from dlcore.training.run_config import resolve_config, with_optimizer_name
from tests.helpers import plain_toy

TOY = plain_toy.experiment(plain_toy.Config())


def test_durations_are_steps_of_the_experiments_own_data():
    config = plain_toy.Config()
    config.train = dataclasses.replace(
        config.train, steps=dl.Duration("2epochs"), eval_every=dl.Duration("50%")
    )
    resolved = resolve_config(config, TOY)
    assert (resolved.train.steps, resolved.train.eval_every) == (10, 5)
    silent = dataclasses.replace(TOY, train_data=[TOY.train_data[0]] * 10)
    config.train = dataclasses.replace(config.train, steps=dl.Duration("80examples"), eval_every=5)
    assert config.train.batch_size == 8
    config.train.batch_size = 64  # the rows of the data count, not the setting
    assert resolve_config(config, silent).train.steps == 10
    config.train.steps = dl.Duration("2epochs")
    with pytest.raises(ValueError, match=r"--config\.train\.steps: got '2epochs'"):
        resolve_config(config, silent)


def test_the_name_of_an_optimizer_of_the_experiments_own_is_custom():
    config = plain_toy.Config()
    assert with_optimizer_name(config, TOY) is config
    own = dataclasses.replace(TOY, optimizer=lambda config, steps: optax.sgd(1.0))
    named = with_optimizer_name(config, own)
    assert (named.optimizer.name, config.optimizer.name) == ("custom", "momentum")
    assert with_optimizer_name(named, own) == named
    config.optimizer.name = "adam"
    with pytest.raises(
        ValueError, match=r"--config.optimizer.name: got adam, but the experiment has an optimizer"
    ):
        with_optimizer_name(config, own)
