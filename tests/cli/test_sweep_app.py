"""A folder holds one sweep; what its table was measured with stays, what it has a column for may grow."""

import dataclasses
import json
from dataclasses import dataclass

import pytest
from absl import flags

import dlcore as dl
from dlcore.cli import sweep_app
from dlcore.cli.sweep_app import SweepConfig, _config
from dlcore.config.flags import define_flags


@dataclass
class Config(SweepConfig):
    scales: tuple[float, ...] = dl.setting((1.0,), "Values.")
    inputs: int = dl.setting(8, "One for all.")


@pytest.fixture
def config_of(monkeypatch, tmp_path):
    """The config of a folder that has a sweep, under flags."""
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(Config())))
    (tmp_path / "sweep.csv").touch()

    def read(*given):
        values = flags.FlagValues()
        flags.DEFINE_string("workdir", str(tmp_path), "", flag_values=values)
        define_flags(Config(), "program", values)
        values(["program", *given])
        monkeypatch.setattr(sweep_app, "FLAGS", values)
        return _config(Config(), tmp_path)

    return read


def test_values_and_memory_may_change(config_of):
    assert config_of("--config.scales=1,2", "--config.memory=3") == Config(memory=3.0, scales=(1.0, 2.0))


def test_what_all_rows_share_may_not(config_of, tmp_path):
    with pytest.raises(ValueError, match=r"--config.inputs: got 3 for .*, whose table was measured with 8"):
        config_of("--config.inputs=3")
    (tmp_path / "sweep.csv").unlink()  # nothing was measured
    assert config_of("--config.inputs=3").inputs == 3


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.scales=", "--config.scales: got no value"),
        ("--config.scales=1,2,1", r"--config.scales: got 1.0 twice"),
    ],
)
def test_every_setting_has_values_each_once(config_of, flag, message):
    with pytest.raises(ValueError, match=message):
        config_of(flag)
