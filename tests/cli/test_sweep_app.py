"""A folder holds one sweep: settings that are columns of its table may get more values, the others stay."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from absl import app as absl_app
from absl import flags
from matplotlib.figure import Figure

import dlcore as dl
from dlcore.cli import sweep_app
from dlcore.cli.sweep_app import SweepConfig, run_sweep, stored_config
from dlcore.config.flags import define_flags


@dataclass
class Config(SweepConfig):
    scales: tuple[float, ...] = dl.setting((1.0,), "Values.")
    inputs: int = dl.setting(8, "One for all.")


@pytest.fixture
def config_of(tmp_path):
    """The config of a folder that has a sweep, changed by flags."""
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(Config())))
    (tmp_path / "sweep.csv").touch()

    def read(*given):
        values = flags.FlagValues()
        flags.DEFINE_string("workdir", str(tmp_path), "", flag_values=values)
        define_flags(Config(), "program", values)
        values(["program", *given])
        return stored_config(Config(), tmp_path, values)

    return read


def test_values_and_memory_may_change(config_of):
    assert config_of("--config.scales=1,2", "--config.memory=3") == Config(memory=3.0, scales=(1.0, 2.0))


def test_a_setting_that_all_rows_share_may_not_change(config_of, tmp_path):
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
def test_a_setting_without_values_or_with_one_twice_is_refused(config_of, flag, message):
    with pytest.raises(ValueError, match=message):
        config_of(flag)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", str(tmp_path), "", flag_values=values)
    values(["program"])
    with pytest.raises(ValueError, match=r"holds files but no config\.json"):
        stored_config(Config(), tmp_path, values)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command line of a sweep in this process; measures nothing, but notes the memory that it may use."""
    noted = []

    def measure(sweep, path, memory):
        noted.append(memory)
        path.touch()
        return [{"scale": scale} for scale in sweep.groups]

    def plan(config):
        return SimpleNamespace(groups=config.scales, figures=lambda rows: {"rows": Figure()})

    def run(*arguments, measure=measure):
        values = flags.FlagValues()
        flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
        with monkeypatch.context() as patch:
            patch.setattr(flags, "FLAGS", values)
            patch.setattr(sweep_app, "FLAGS", values)
            patch.setattr(sweep_app.execute, "run", measure)
            patch.setattr(sys, "argv", ["program", f"--workdir={tmp_path / 'run'}", *arguments])
            patch.setattr(absl_app, "run", lambda main, flags_parser: main(flags_parser(sys.argv)))
            run_sweep(Config, plan)
        return noted

    return run


def test_a_sweep_writes_its_config_and_figures_and_prints_its_result(command, tmp_path, capsys):
    assert command("--config.scales=1,2", "--config.memory=0.5") == [2**29]
    printed = capsys.readouterr()
    assert printed.out.startswith('result: {"configurations": 2, "seconds": ')
    assert printed.err == f"figure: {tmp_path}/run/figures/rows.png\n"
    assert (tmp_path / "run" / "figures" / "rows.png").stat().st_size > 0
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored == {"memory": 0.5, "scales": [1.0, 2.0], "inputs": 8}
    assert command("--config.scales=1,2,3") == [2**29, 2**29]


def test_a_mistake_in_a_sweep_is_one_line(command, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command("--config.scales=1,1")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --config.scales: got 1.0 twice, expected each value once\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_sweep_with_130(command, tmp_path, capsys):
    def interrupt(sweep, path, memory):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        command(measure=interrupt)
    assert stop.value.code == 130
    assert capsys.readouterr().err == f"stopped by Ctrl-C; to go on: --workdir={tmp_path / 'run'}\n"
