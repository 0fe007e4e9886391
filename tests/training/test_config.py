"""The settings that every experiment has."""

import dataclasses
import re

import pytest

from dlcore.config import settings
from dlcore.training.config import CheckpointConfig, Config, TrainConfig


def test_the_defaults_fit_their_own_bounds_and_every_setting_has_help():
    settings.check(Config())
    assert all(leaf.help.endswith(".") for leaf in settings.leaves(Config()))


def test_a_run_that_is_started_again_may_change_only_what_does_not_change_its_numbers():
    leaves = list(settings.leaves(Config()))
    assert {leaf.path for leaf in leaves if leaf.may_grow} == {"train.steps"}
    assert {leaf.path for leaf in leaves if leaf.may_change} == {
        "train.prefetch",
        "train.prefetch_workers",
        "train.hang_timeout",
        "checkpoint.grace",
        "gradient_flow.rows",
        "gradient_flow.batches",
        "log.figures",
        "log.tensorboard",
        "log.wandb",
        "log.mlflow",
        "mesh.data",
        "mesh.model",
        "mesh.parameters",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("train.steps", 0),
        ("train.micro_batches", 0),
        ("train.ema_decay", 1.0),
        ("train.precision", "float16"),
        ("train.on_nan", "ignore"),
        ("train.steps", 10**11),
        ("train.batch_size", 10**12),
        ("train.eval_batch_size", 10**12),
        ("train.prefetch", 10**6),
        ("train.prefetch_workers", 10**6),
        ("train.hang_timeout", 0.0),
        ("train.hang_timeout", 1e-9),
        ("train.hang_timeout", 1e300),
        ("checkpoint.grace", 1e300),
        ("optimizer.clip_norm", 1e-50),
        ("checkpoint.keep", 0),
        ("optimizer.momentum", 1.0),
        ("optimizer.clip_norm", 0.0),
        ("mesh.model", 0),
        ("stop.patience", 0),
        ("stop.min_change", -0.1),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_flag(path, value):
    with pytest.raises(ValueError, match=re.escape(f"--config.{path}: got {value!r}, expected")):
        settings.check(settings.replace(Config(), {path: value}))


def test_two_configs_share_nothing():
    first, second = Config(), Config()
    first.train.steps, first.checkpoint.every = 7, 8
    assert second == Config(train=TrainConfig(), checkpoint=CheckpointConfig())
    assert second.train.steps == 1000


def test_an_experiment_adds_settings_in_a_subclass():
    @dataclasses.dataclass
    class Own(Config):
        features: int = settings.setting(8, "Units.", minimum=1)

    assert {leaf.path for leaf in settings.leaves(Own())} - {
        leaf.path for leaf in settings.leaves(Config())
    } == {"features"}
