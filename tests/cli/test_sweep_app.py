"""A folder holds one sweep: settings that are columns of its table may get more values, the others stay."""

import dataclasses
import json
import sys
from dataclasses import dataclass

import pytest
from absl import app as absl_app
from absl import flags
from matplotlib.figure import Figure

import dlcore as dl
from dlcore.cli import sweep_app
from dlcore.cli.sweep_app import SweepConfig, run_sweep, stored_config
from dlcore.config.flags import define_flags
from dlcore.sweep.plan import Sweep
from tests.helpers.bad_arguments import unclear_errors


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
        return Sweep(config.scales, (), (), lambda rows: {"rows": Figure()})

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.memory=1e300"], "expected a number > 0 and <= 1073741824, or none"),
        (["--config.memory=1e-50"], "expected a number > 0 and <= 1073741824, or none; in float32 it is 0"),
        (["--config.scales=1e39"], "comma-separated, each a number; in float32 it is inf"),
        (["--config.scales=1,,2"], "comma-separated, each a number"),
        (
            ["--workdir=gs://bucket/sweep"],
            "--workdir: got 'gs://bucket/sweep', expected a path on this machine",
        ),
        (
            ["--workdir=~nouser/sweep"],
            "--workdir: got '~nouser/sweep', but the home folder of ~nouser is not known",
        ),
        (["--workdir="], "--workdir: got an empty text, expected a path"),
        (["--run="], "--run: got a --workdir too"),
    ],
)
def test_a_bad_command_line_of_a_sweep_is_one_line(command, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        command(*arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["figures", "."])
def test_a_file_in_the_place_of_a_folder_is_refused_before_anything_is_measured(
    command, tmp_path, capsys, name
):
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(SystemExit) as stop:
        command()
    assert stop.value.code == 2
    assert "got a file, expected a folder of the run" in capsys.readouterr().err


def test_a_setting_that_the_stored_config_lacks_has_its_default(config_of, tmp_path):
    (tmp_path / "config.json").write_text('{"scales": [1.0]}')
    with pytest.raises(ValueError, match=r"--config.inputs: got 3 for .*, whose table was measured with 8"):
        config_of("--config.inputs=3")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json holds no settings"):
        config_of()


def test_a_bad_argument_is_named(tmp_path):
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    define_flags(Config(), "program", values)
    values(["program"])
    assert not unclear_errors(
        stored_config, {"config": Config(), "folder": tmp_path / "none", "values": values}
    )
    for config_class in (None, Config(), dl.Config, "x"):
        with pytest.raises(
            TypeError, match=r"^config_class: got .*, expected a class derived from dl.SweepConfig"
        ):
            run_sweep(config_class, lambda config: None)
    with pytest.raises(TypeError, match=r"^plan: got 3, expected a function such as plan\(config\)"):
        run_sweep(Config, 3)
