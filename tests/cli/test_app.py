"""The command line: what it prints, its exit codes, and that a mistake changes nothing.

Most tests call it in their own process; a few start it as users do.
"""

import dataclasses
import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.cli import app, modes
from dlcore.training import loop
from dlcore.training.checkpoints.disk import CheckpointError
from dlcore.training.faults.signals import Interrupted
from dlcore.training.run import Run
from tests.helpers import plain_toy, toy
from tests.helpers.bad_command_lines import ARGUMENTS, CONFIGS, write_files
from tests.helpers.checkpoints import read_files
from tests.helpers.command_line import CommandLine, read_result
from tests.helpers.paths import ROOT


def command(module, *arguments):
    return [sys.executable, "-m", f"tests.helpers.{module}", *arguments]


def run_process(module, *arguments):
    arguments = command(module, *arguments)
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)


def result_of(finished):
    assert finished.returncode == 0, finished.stderr
    return read_result(finished.stdout)


def greet(run):
    return {"greeting": "hello", "dropout": run.config.dropout}


def experiment(config):
    return dataclasses.replace(plain_toy.experiment(config), modes={"greet": greet})


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command line of the plain toy, which has a preset and a mode of its own, in this process."""
    presets = {"small": plain_toy.Config(dropout=0.25)}
    return CommandLine(monkeypatch, capsys, plain_toy.Config, experiment, presets)


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """The folder of a finished run of 12 steps, and the result that it printed."""
    folder, out = tmp_path_factory.mktemp("runs") / "plain", io.StringIO()
    capture = SimpleNamespace(readouterr=lambda: SimpleNamespace(out=out.getvalue(), err=""))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        start = CommandLine(patch, capture, plain_toy.Config, experiment, {})
        return folder, start(f"--workdir={folder}").result()


def test_a_run_leaves_its_files_and_prints_its_result(plain_run):
    folder, result = plain_run
    assert result["steps"] == 12
    assert result["folder"] == str(folder)
    assert result["loss"] > 0
    assert result["seconds"] > 0
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "metrics.csv", "checkpoints", "figures", "result.json"} < names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert (folder / "figures" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((folder / "result.json").read_text())
    assert stored == {name: value for name, value in result.items() if name != "folder"}


@pytest.mark.slow
def test_the_config_file_runs_again_to_the_same_bits(plain_run, tmp_path):
    """In a process of its own, which leaves the same files."""
    folder, result = plain_run
    flags = f"--workdir={tmp_path / 'again'}", f"--from_config={folder / 'config.json'}"
    again = result_of(run_process("plain_toy", *flags))
    names = [
        {path.name for path in run.iterdir() if not path.name.startswith("events.out.tfevents")}
        for run in (folder, tmp_path / "again")
    ]
    assert names[0] == names[1]
    assert (tmp_path / "again" / "metrics.csv").read_bytes() == (folder / "metrics.csv").read_bytes()
    assert again["loss"] == result["loss"]


def test_a_finished_run_is_not_run_again(plain_run, call):
    folder, result = plain_run
    before = read_files(folder)
    finished = call(f"--workdir={folder}")
    assert finished.result() == result
    assert "finished already" in finished.stderr
    assert read_files(folder) == before


def test_evaluate_repeats_the_last_evaluation_and_writes_nothing(plain_run, call):
    folder, result = plain_run
    before = read_files(folder)
    evaluated = call(f"--workdir={folder}", "--mode=evaluate").result()
    assert evaluated == {name: value for name, value in result.items() if name != "seconds"}
    assert read_files(folder) == before


@pytest.mark.parametrize(
    ("arguments", "dropout"),
    [([], 0.0), (["--preset=small"], 0.25), (["--preset=small", "--config.dropout=0.5"], 0.5)],
)
def test_a_flag_overrides_a_preset_and_a_preset_the_default(call, tmp_path, arguments, dropout):
    result = call(f"--workdir={tmp_path}", "--mode=greet", *arguments).result()
    assert result == {"greeting": "hello", "dropout": dropout, "folder": str(tmp_path)}


def test_an_inspection_names_the_source_of_each_setting_and_writes_nothing(
    call, plain_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    flags = "--mode=inspect", "--target=cpu:1", "--nocompile"
    finished = call(*flags, "--preset=small", "--config.seed=0")
    result = finished.result()
    assert (result["target"], result["parameters"], result["fits"]) == ("cpu:1", 12, None)
    assert "folder" not in result  # no run was named
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert ["dropout", "0.25", "preset", "small"] in lines
    assert ["seed", "0", "flag"] in lines
    assert finished.stderr == ""
    assert list(tmp_path.iterdir()) == []

    folder, _ = plain_run
    before = read_files(folder)
    finished = call(*flags, f"--workdir={folder}", "--config.train.prefetch=3")
    assert finished.result()["folder"] == str(folder)
    assert "settings: 1 of" in finished.stdout
    finished = call(*flags, f"--from_config={folder / 'config.json'}", "--config.seed=1")
    assert "settings: 1 of" in finished.stdout
    assert read_files(folder) == before


def test_an_inspection_compiles_the_steps(call, tmp_path):
    finished = call(f"--workdir={tmp_path / 'run'}", "--mode=inspect", "--target=cpu:1")
    result = finished.result()
    assert result["fits"] is True
    assert result["training"]["program_bytes"] > result["evaluation"]["rows"]
    assert "fits: training needs" in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_old_flag_works_and_tells_its_new_name(call, tmp_path, monkeypatch):
    timeouts = []
    monkeypatch.setattr(modes, "evaluate", lambda run: timeouts.append(run.config.train.hang_timeout) or {})
    finished = call(f"--workdir={tmp_path}", "--mode=evaluate", "--config.train.patience=300")
    assert finished.result() == {"folder": str(tmp_path)}
    assert timeouts == [300]
    assert "note: --config.train.patience is now --config.train.hang_timeout\n" in finished.stderr


def test_help_lists_every_setting_with_default_bounds_and_meaning(call):
    finished = call("--help")
    assert finished.exit_code == 0
    text = " ".join(finished.stdout.split())
    assert (
        "--config.dropout: Fraction of the inputs that training sets to 0. (default: '0.0') (a number >= 0 and < 1)"
        in text
    )
    assert "--config.optimizer.clip_norm" in text
    assert "small" in text.split("--preset:")[1][:80]
    assert "--config.train.patience" not in text  # an old name


BAD = {
    ("--config.optimizer.learning_rat=1",): "did you mean 'config.optimizer.learning_rate'?",
    ("--config.optimizer.learning_rate=-1",): "--config.optimizer.learning_rate=-1: expected a number >= 0",
    ("--config.train.batch_size=0",): "--config.train.batch_size=0: expected an integer >= 1",
    ("--config.train.batch_size=41",): "--config.train.batch_size: got 41, expected 1 to 40",
    ("--config.train.steps=many",): "--config.train.steps=many: expected an integer >= 1",
    ("--config.optimizer.name=adm",): "expected one of sgd, momentum, nesterov, adam, adamw",
    ("--config.optimizer.warmup_steps=13",): "--config.optimizer.warmup_steps: got 13, expected at most",
    ("--preset=smal",): "--preset: got 'smal', expected one of small; did you mean 'small'",
    (
        "--mode=evaluat",
    ): "--mode: got 'evaluat', expected one of train, evaluate, gradient_flow, inspect, greet; did you mean",
    ("--mode=evaluate",): "has no checkpoint; train first",
    ("--mode=evaluate", "--checkpoint=latest"): "--checkpoint: got 'latest', expected newest, best or a step",
    ("--from_config=nowhere.json",): "--from_config: no file nowhere.json",
    ("--from_config=pyproject.toml",): "--from_config: pyproject.toml is not JSON",
    ("--preset=small", "--from_config=a.json"): "--preset: got a --from_config too, expected one of them",
    ("--run=a/b",): "--run: got a --workdir too",
    ("--target=cpu:1",): "--target: got 'cpu:1' with --mode=train, expected --mode=inspect",
    ("--nocompile", "--mode=evaluate"): "--compile: got False with --mode=evaluate, expected --mode=inspect",
    (
        "--mode=inspect",
        "--target=cpu",
    ): "--target: got 'cpu', expected a TPU topology such as v5e:2x4, one of a100",
    ("--mode=inspect", "--target=cpu:0"): "--target: got 'cpu:0', expected cpu:1 to cpu:4096",
    ("--mode=inspect", "--target=h100:8"): "but JAX's CUDA plugin, which compiles for it, is not installed",
    (
        "--mode=inspect",
        "--target=cpu:1",
        "--config.mesh.model=2",
    ): "expected a product of 1, the number of devices of --target=cpu:1; choose a mesh of all its devices",
    ("--mode=inspect", "--distributed=x"): "--distributed: got 'x', expected auto, on or off",
    ("--mode=inspect", "--profile=9-7"): "--profile: got '9-7'",
    ("--mode=inspect", "--config.train.batch_size=41"): "--config.train.batch_size: got 41, expected 1 to 40",
    (
        "--mode=inspect",
        "--config.init_from=nowhere",
    ): "--config.init_from: got nowhere, expected a run's folder",
    ("train",): "train: no such argument",
}


def assert_refused(finished, message):
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert finished.exit_code == 2
    assert len(errors) == 1, finished.stderr
    assert message in errors[0]
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=[ascii(" ".join(case))[:60] for case in ARGUMENTS])
def test_a_bad_command_line_is_refused_with_one_line(arguments, call, tmp_path):
    write_files(tmp_path / "files")
    folder = str(tmp_path / "files")
    given = [argument.replace("FOLDER", folder) for argument in arguments]
    has_place = any(argument.startswith("--workdir") for argument in given)
    finished = call(*([] if has_place else [f"--workdir={tmp_path / 'run'}"]), *given)
    assert_refused(finished, ARGUMENTS[arguments].replace("FOLDER", folder))
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert (tmp_path / "files" / "other.json").read_text() == "{}"


@pytest.mark.parametrize("content", CONFIGS, ids=[ascii(content)[:60] for content in CONFIGS])
@pytest.mark.parametrize("way", ["from_config", "workdir"])
def test_a_bad_config_file_is_refused_with_one_line(content, way, call, tmp_path):
    path = tmp_path / "bad" / "config.json"
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    chosen = [f"--workdir={path.parent}"]
    if way == "from_config":
        chosen = [f"--workdir={tmp_path / 'run'}", f"--from_config={path}"]
    assert_refused(call(*chosen), CONFIGS[content])
    assert path.read_text(encoding="utf-8") == content or "init_from" in content


def test_without_devices_the_environment_is_named(call, tmp_path, monkeypatch):
    def find_none():
        raise RuntimeError("Unable to initialize backend 'bogus':\n unknown")

    monkeypatch.setenv("JAX_PLATFORMS", "bogus")
    monkeypatch.setattr(jax, "devices", find_none)
    finished = call(f"--workdir={tmp_path / 'run'}")
    assert_refused(finished, "JAX finds no devices with JAX_PLATFORMS='bogus'")
    assert "Unable to initialize backend 'bogus': unknown; JAX_PLATFORMS=cpu uses the CPU" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JAX_PLATFORMS", "bogus", "JAX finds no devices with JAX_PLATFORMS='bogus'"),
        ("JAX_PLATFORMS", "cuda", "JAX finds no devices with JAX_PLATFORMS='cuda'"),
        ("DLCORE_COORDINATOR", "nowhere", "DLCORE_COORDINATOR: got 'nowhere', expected HOST:PORT"),
        ("DLCORE_COORDINATOR", "localhost:1", "expected the number of processes and the index of this one"),
    ],
)
def test_a_wrong_environment_is_refused_with_one_line(name, value, message, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    finished = run_process("plain_toy", f"--workdir={tmp_path / 'run'}")
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert message in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["JAX_NUM_CPU_DEVICES", "JAX_ENABLE_X64"])
def test_a_variable_that_jax_cannot_read_ends_an_experiment_with_one_line(name, monkeypatch):
    monkeypatch.setenv(name, "two")
    finished = subprocess.run(
        [sys.executable, "-m", "experiments.digits", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")
    assert name.lower() in finished.stderr.lower()
    assert finished.stderr.count("\n") == 1


def bad_experiments():
    """Experiments that break the contract of the command line, with the error."""
    yield {"modes": {"train": greet}}, "modes: got 'train', expected another name"
    yield {"modes": {"evaluate": greet}}, "modes: got 'evaluate', expected another name"
    yield (
        {"modes": {"greet": "hello"}},
        "modes['greet']: got 'hello', expected a function such as predict(run)",
    )
    for returned in (None, 3, [1], {"loss": np.float32(1)}, {3: set()}):
        yield (
            {"modes": {"greet": lambda run, returned=returned: returned}},
            "from greet, expected a dict for JSON",
        )


@pytest.mark.parametrize(("fields", "message"), [*bad_experiments()])
def test_a_bad_mode_of_an_experiment_is_refused_with_one_line(fields, message, monkeypatch, capsys, tmp_path):
    def build(config):
        return dataclasses.replace(plain_toy.experiment(config), **fields)

    call = CommandLine(monkeypatch, capsys, plain_toy.Config, build, {})
    assert_refused(call(f"--workdir={tmp_path / 'run'}", "--mode=greet"), message)


@pytest.mark.parametrize("built", [None, 3, plain_toy.Config()])
def test_what_is_no_experiment_is_refused_with_one_line(built, monkeypatch, capsys, tmp_path):
    call = CommandLine(monkeypatch, capsys, plain_toy.Config, lambda config: built, {})
    finished = call(f"--workdir={tmp_path / 'run'}")
    assert_refused(finished, "returned, expected a dl.Experiment")


class Undecorated(plain_toy.Config):
    extra: int = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, experiment, None), "config_class: got None, expected a class derived from dl.Config"),
        ((plain_toy.Config(), experiment, None), "config_class: got Config"),
        (
            (dict, experiment, None),
            "config_class: got <class 'dict'>, expected a class derived from dl.Config",
        ),
        ((Undecorated, experiment, None), "config_class: got .*Undecorated.*, expected @dataclass above it"),
        ((plain_toy.Config, None, None), "experiment: got None, expected a function"),
        ((plain_toy.Config, "x", None), "experiment: got 'x', expected a function"),
        ((plain_toy.Config, experiment, ["small"]), "presets: got .*, expected a dict of configs by name"),
        (
            (plain_toy.Config, experiment, {"small": {}}),
            r"presets\['small'\]: got {}, expected a Config",
        ),
        (
            (plain_toy.Config, experiment, {3: plain_toy.Config()}),
            "presets: got 3, expected names that are text",
        ),
    ],
)
def test_a_bad_call_of_run_names_the_argument(arguments, message):
    config_class, build, presets = arguments
    with pytest.raises(TypeError, match=f"^{message}"):
        app.run(config_class, build, presets=presets)


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_a_mistake_is_one_line_that_names_it_and_nothing_is_written(arguments, call, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    finished = call(f"--workdir={tmp_path / 'run'}", *arguments)
    assert finished.exit_code == 2
    assert BAD[arguments] in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith("error: ")
    assert finished.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_process_ends_with_2_after_a_mistake(tmp_path):
    finished = run_process("plain_toy", f"--workdir={tmp_path / 'run'}", "--mode=evaluate")
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: --checkpoint: got newest, but ")
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_mode_needs_to_know_which_run(call):
    finished = call("--mode=evaluate")
    assert finished.exit_code == 2
    assert finished.stderr.startswith(
        "error: --run: got none, expected the name of a run for --mode=evaluate"
    )


def test_a_run_with_other_settings_is_not_overwritten(plain_run, call):
    folder, _ = plain_run
    before = read_files(folder)
    for arguments, message in (
        (["--config.seed=1"], "--config.seed=1 (was 0)"),
        (["--config.train.steps=6"], "--config.train.steps=6 (was 12)"),
    ):
        finished = call(f"--workdir={folder}", *arguments)
        assert finished.exit_code == 2
        assert f"holds a run with other settings: {message}" in finished.stderr
    assert read_files(folder) == before


def test_a_folder_that_cannot_hold_checkpoints_is_refused(plain_run, call, tmp_path):
    (tmp_path / "config.json").write_bytes((plain_run[0] / "config.json").read_bytes())
    (tmp_path / "checkpoints").touch()
    finished = call(f"--workdir={tmp_path}")
    assert finished.exit_code == 2
    assert "checkpoints: got a file, expected a folder of the run" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "exit_code", "printed"),
    [
        (Interrupted(7, signal.SIGINT), 130, "stopped by Ctrl-C after step 7; "),
        (Interrupted(7, signal.SIGTERM), 75, "stopped by SIGTERM after step 7; "),
        (CheckpointError(28, "the disk is full: step 4"), 1, "error: the disk is full: step 4\n"),
        (ValueError("seed: got 3"), 2, "error: --config.seed: got 3\n"),
        (ValueError("shapes differ"), 1, "ValueError: shapes differ"),
    ],
)
def test_the_exit_code_tells_how_a_mode_ended(call, tmp_path, monkeypatch, error, exit_code, printed):
    def fail(run):
        raise error

    monkeypatch.setattr(modes, "evaluate", fail)
    finished = call(f"--workdir={tmp_path}", "--mode=evaluate")
    assert finished.exit_code == exit_code
    assert printed in finished.stderr
    assert ("Traceback" in finished.stderr) == (printed == "ValueError: shapes differ")
    assert finished.stdout == ""


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result_of(run_process("toy", f"--workdir={folder}"))
    return folder


@pytest.mark.slow
def test_a_run_that_is_resumed_in_a_new_process_equals_an_uninterrupted_one_to_the_bit(toy_run, tmp_path):
    """Parameters, optimizer state, BatchNorm statistics and logged numbers, with dropout and augmentation."""
    result_of(run_process("toy", f"--workdir={tmp_path}", "--config.train.steps=6"))
    assert result_of(run_process("toy", f"--workdir={tmp_path}", "--config.train.steps=12"))["steps"] == 12
    assert (tmp_path / "metrics.csv").read_bytes() == (toy_run / "metrics.csv").read_bytes()
    config = toy.Config()
    states = [loop.restore(Run(toy.experiment(config), config, path)) for path in (toy_run, tmp_path)]
    for one, other in zip(*(jax.tree.leaves(state) for state in states), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


TWICE = """
import sys
import dlcore as dl
from tests.helpers import plain_toy

for folder in sys.argv.pop().split(","):
    sys.argv = ["program", f"--workdir={folder}"]
    try:
        dl.run(plain_toy.Config, plain_toy.experiment)
    except SystemExit as stop:
        assert not stop.code
"""


@pytest.mark.slow
def test_a_process_may_run_two_command_lines(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    finished = subprocess.run(
        [sys.executable, "-c", TWICE, ",".join(map(str, folders))], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.stdout.count("result: {") == 2, finished.stderr
    one, other = ((folder / "metrics.csv").read_bytes() for folder in folders)
    assert one == other


@pytest.mark.slow
def test_a_run_of_a_process_is_loaded_by_its_folder_alone(toy_run):
    """The experiment was ``__main__`` there."""
    names = json.loads((toy_run / "experiment.json").read_text())
    assert names == {"experiment": "tests.helpers.toy:experiment", "config": "tests.helpers.toy:Config"}
    model = dl.load(toy_run, "newest")
    assert model.predict(toy.arrays(3)["inputs"]).shape == (3, 3)
    stored = json.loads((toy_run / "result.json").read_text())
    assert dl.evaluate(model) == {name: stored[name] for name in ("accuracy", "loss")}


@pytest.mark.slow
def test_presets_modes_and_help_of_a_process(toy_run):
    none = toy_run.parent / "none"
    assert result_of(run_process("toy", f"--workdir={toy_run}", "--mode=greet"))["examples"] == 40
    small = [f"--workdir={none}", "--preset=small", "--mode=greet"]
    assert result_of(run_process("toy", *small))["examples"] == 20
    assert result_of(run_process("toy", *small, "--config.examples=30"))["examples"] == 30
    shown = run_process("toy", "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(toy.__doc__)
    assert "--config.examples: " in shown.stdout


@pytest.mark.slow
def test_ctrl_c_saves_and_the_run_goes_on(tmp_path):
    arguments = command("toy", f"--workdir={tmp_path}", "--config.train.steps=1000000")
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("step "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "stopped by Ctrl-C after step" in rest
    assert f"to go on: --workdir={tmp_path}" in rest
    step = int(rest.split("after step ")[1].split(";")[0])
    evaluated = result_of(run_process("toy", f"--workdir={tmp_path}", "--mode=evaluate"))
    assert evaluated["steps"] == step


@pytest.mark.parametrize("mode", ["train", "evaluate", "gradient_flow"])
def test_a_folder_in_the_place_of_the_config_is_refused_in_every_mode(mode, monkeypatch, capsys, tmp_path):
    (tmp_path / "config.json").mkdir()
    call = CommandLine(monkeypatch, capsys, plain_toy.Config, plain_toy.experiment, {})
    assert_refused(
        call(f"--workdir={tmp_path}", f"--mode={mode}"), "config.json: got a folder, expected a file"
    )
