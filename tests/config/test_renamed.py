"""Old names of settings, of version 0.1, still work in files and on the command line."""

from dataclasses import dataclass, field

import pytest
from absl import flags as absl_flags

from dlcore.config import files
from dlcore.config.files import from_dict
from dlcore.config.flags import define_flags, old_flags_given, with_flags
from dlcore.config.renamed import RENAMED
from dlcore.config.settings import leaves, setting
from dlcore.training.config import Config, TrainConfig

STORED = {
    "train": {
        "average_decay": 0.9,
        "patience": 60.0,
        "read_ahead": 5,
        "read_workers": 3,
        "rematerialise": True,
    }
}
READ = Config(train=TrainConfig(ema_decay=0.9, hang_timeout=60.0, prefetch=5, prefetch_workers=3, remat=True))


@dataclass
class SweepConfig:
    initializations: int = setting(3, "The setting of a sweep that was renamed.")
    train: TrainConfig = field(default_factory=TrainConfig)


def test_a_file_with_old_names_sets_the_new_settings(caplog):
    files._warn_once.cache_clear()  # it speaks once in a process
    with caplog.at_level("WARNING", logger="absl"):
        assert from_dict(Config(), STORED, "run/config.json") == READ
    assert [record.getMessage() for record in caplog.records] == [
        f"config.json: {old} is now {RENAMED[old]}" for old in (f"train.{name}" for name in STORED["train"])
    ]
    assert from_dict(SweepConfig(), {"initialisations": 9}, "file").initializations == 9


def test_a_bad_value_under_an_old_name_is_refused_with_the_new_flag():
    with pytest.raises(ValueError, match=r"^file: --config.train.ema_decay: got 2, expected a number > 0"):
        from_dict(Config(), {"train": {"average_decay": 2}}, "file")


def test_an_old_name_of_a_setting_that_a_config_lacks_is_unknown():
    with pytest.raises(ValueError, match=r"^file: no setting 'initializations'"):
        from_dict(Config(), {"initialisations": 9}, "file")


def parse(config, *arguments):
    """The config that command line arguments give, and the old flags among them."""
    values = absl_flags.FlagValues()
    define_flags(config, "program", values)
    values(["program", *arguments])
    return with_flags(config, values), list(old_flags_given(values))


def test_old_flags_set_the_new_settings_and_are_named():
    arguments = [f"--config.train.{name}={value}" for name, value in STORED["train"].items()]
    config, old = parse(Config(), *arguments)
    assert config == READ
    assert old == [
        (f"--config.train.{name}", f"--config.{RENAMED[f'train.{name}']}") for name in STORED["train"]
    ]


def test_new_flags_are_not_named_as_old():
    config, old = parse(Config(), "--config.train.prefetch=5", "--config.train.remat")
    assert config == Config(train=TrainConfig(prefetch=5, remat=True))
    assert not old


def test_help_lists_the_new_flags_only():
    values = absl_flags.FlagValues()
    define_flags(SweepConfig(), "program", values)
    listed = values.module_help("program")
    for old, new in RENAMED.items():
        assert f"config.{new}" in listed
        assert f"config.{old}" not in listed


def test_every_new_name_is_a_setting():
    assert set(RENAMED.values()) <= {leaf.path for leaf in leaves(SweepConfig())}
