"""From an experiment and a config to a run."""

from pathlib import Path

import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.config import settings
from dlcore.runs.build import check_run, make_run
from tests.helpers import plain_toy

CONFIG = plain_toy.Config()


def test_a_function_is_called_and_kept_and_an_experiment_is_taken_as_it_is():
    run = make_run(plain_toy.experiment, CONFIG, Path("folder"), checkpoint=3)
    assert run.build is plain_toy.experiment
    assert (run.config, run.folder, run.checkpoint) == (CONFIG, Path("folder"), 3)
    built = plain_toy.experiment(CONFIG)
    assert make_run(built, CONFIG, Path("folder")).experiment is built
    assert make_run(built, CONFIG, Path("folder")).build is None
    check_run(run)


def test_a_run_keeps_its_config_if_the_caller_changes_it_for_the_next_run():
    config = plain_toy.Config()
    run = make_run(plain_toy.experiment, config, Path("folder"))
    config.optimizer.learning_rate = 9.0
    assert run.config == CONFIG


def test_the_config_may_ask_for_a_monitor():
    config = settings.replace(CONFIG, {"train.monitor_every": 3})
    assert make_run(plain_toy.experiment, config, Path("folder")).experiment.monitor is not None


@pytest.mark.parametrize(
    ("experiment", "config", "error", "message"),
    [
        (None, CONFIG, TypeError, "experiment: got None, expected a function such as experiment"),
        (lambda config: 3, CONFIG, TypeError, "experiment: got 3 returned, expected a dl.Experiment"),
        (
            nn.Dense(1),
            CONFIG,
            TypeError,
            "experiment: got the model Dense, expected a dl.Experiment, such as",
        ),
        (plain_toy.experiment, None, TypeError, "config: got None, expected a dl.Config"),
        (plain_toy.experiment, dl.Config, TypeError, "config: got .*, expected a dl.Config"),
        (
            plain_toy.experiment,
            plain_toy.Config(seed=-1),
            ValueError,
            "--config.seed: got -1, expected an integer",
        ),
    ],
)
def test_a_bad_argument_is_named(experiment, config, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make_run(experiment, config, Path("folder"))


def test_settings_that_do_not_fit_the_data_are_refused_by_the_check():
    run = make_run(plain_toy.experiment, settings.replace(CONFIG, {"train.micro_batches": 3}), Path("folder"))
    with pytest.raises(ValueError, match=r"^micro_batches: got 3"):
        check_run(run)
