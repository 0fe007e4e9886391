"""The command line, run as users run it: in a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dlcore.train import loop
from dlcore.train.run import Run
from tests.helpers import toy
from tests.helpers.paths import ROOT


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.helpers.toy", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=120)


def result_of(finished: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert finished.returncode == 0, finished.stderr
    last = finished.stdout.splitlines()[-1]
    assert last.startswith("result: ")
    return json.loads(last.removeprefix("result: "))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished run of 12 steps, and the result that it printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, result_of(run(f"--workdir={folder}"))


def test_a_run_leaves_what_it_should(folder):
    folder, result = folder
    assert result["steps"] == 12
    assert result["folder"] == str(folder)
    assert 0 <= result["accuracy"] <= 1
    assert result["seconds"] > 0
    there = {path.name for path in folder.iterdir()}
    assert {"config.json", "metrics.csv", "checkpoints", "figures", "result.json"} < there
    assert any(name.startswith("events.out.tfevents") for name in there)
    assert (folder / "figures" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((folder / "result.json").read_text())
    assert stored == {name: value for name, value in result.items() if name != "folder"}


def test_stopped_and_started_again_in_a_new_process_equals_one_go_to_the_bit(folder, tmp_path):
    """Parameters, optimizer state, BatchNorm statistics, logged numbers; dropout and augmentation on."""
    whole, _ = folder
    result_of(run(f"--workdir={tmp_path}", "--config.train.steps=6"))
    assert result_of(run(f"--workdir={tmp_path}", "--config.train.steps=12"))["steps"] == 12
    assert (tmp_path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    experiment = toy.experiment(toy.Config())
    states = [loop.restore(Run(experiment, toy.Config(), path)) for path in (whole, tmp_path)]
    for one, other in zip(*(jax.tree.leaves(state) for state in states), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_the_config_file_runs_again_to_the_same_bits(folder, tmp_path):
    whole, result = folder
    again = result_of(run(f"--workdir={tmp_path / 'again'}", f"--from_config={whole / 'config.json'}"))
    assert (tmp_path / "again" / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert again["loss"] == result["loss"]


def test_a_finished_run_is_not_run_again(folder):
    folder, result = folder
    before = contents(folder)
    finished = run(f"--workdir={folder}")
    assert result_of(finished) == result
    assert "finished already" in finished.stderr
    assert contents(folder) == before


def test_evaluate_repeats_the_last_evaluation_and_writes_nothing(folder):
    folder, result = folder
    before = contents(folder)
    evaluated = result_of(run(f"--workdir={folder}", "--mode=evaluate"))
    assert evaluated == {name: value for name, value in result.items() if name != "seconds"}
    assert contents(folder) == before


def test_an_experiments_own_mode_and_presets(folder):
    assert result_of(run(f"--workdir={folder[0]}", "--mode=greet"))["examples"] == 40
    small = run(f"--workdir={folder[0].parent / 'none'}", "--preset=small", "--mode=greet")
    assert result_of(small)["examples"] == 20
    flag = ["--preset=small", "--config.examples=30"]
    assert result_of(run(f"--workdir={folder[0].parent / 'none'}", *flag, "--mode=greet"))["examples"] == 30


def test_ctrl_c_saves_and_the_run_goes_on(tmp_path):
    arguments = command(f"--workdir={tmp_path}", "--config.train.steps=1000000")
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
    evaluated = result_of(run(f"--workdir={tmp_path}", "--mode=evaluate"))
    assert evaluated["steps"] == step


def test_a_folder_that_cannot_hold_checkpoints_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder[0] / "config.json").read_bytes())
    (tmp_path / "checkpoints").touch()
    finished = run(f"--workdir={tmp_path}")
    assert finished.returncode == 2
    assert "checkpoints: got a file, expected a folder of the run" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_help_lists_every_setting_with_default_bounds_and_meaning():
    finished = run("--help")
    assert finished.returncode == 0
    assert "A small experiment on random numbers" in finished.stdout
    text = " ".join(finished.stdout.split())
    assert "--config.examples: How many examples there are. (default: '40') (an integer >= 1)" in text
    assert "--config.optimizer.clip_norm" in text
    assert "small" in text.split("--preset:")[1][:80]


BAD = {
    ("--config.optimizer.learning_rat=1",): "Did you mean: config.optimizer.learning_rate",
    ("--config.optimizer.learning_rate=-1",): "--config.optimizer.learning_rate=-1: expected a number >= 0",
    ("--config.train.batch_size=0",): "--config.train.batch_size=0: expected an integer >= 1",
    ("--config.train.batch_size=41",): "--config.train.batch_size: got 41, expected 1 to 40",
    ("--config.train.steps=many",): "--config.train.steps=many: expected an integer >= 1",
    ("--config.optimizer.name=adm",): "expected one of sgd, momentum, adam, adamw",
    ("--config.optimizer.warmup_steps=13",): "--config.optimizer.warmup_steps: got 13, expected at most",
    ("--preset=smal",): "--preset: got 'smal', expected one of small; did you mean 'small'",
    (
        "--mode=evaluat",
    ): "--mode: got 'evaluat', expected one of train, evaluate, gradient_flow, greet; did you mean",
    ("--mode=evaluate",): "has no checkpoint; train first",
    ("--mode=evaluate", "--checkpoint=latest"): "--checkpoint: got 'latest', expected newest, best or a step",
    ("--from_config=nowhere.json",): "--from_config: no file nowhere.json",
    ("--from_config=pyproject.toml",): "--from_config: pyproject.toml is no JSON",
    ("--run=a/b",): "--run: got a --workdir too",
    ("train",): "train: no such argument",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_a_mistake_is_one_line_that_names_it_and_nothing_is_written(arguments, tmp_path):
    finished = run(f"--workdir={tmp_path / 'run'}", *arguments)
    assert finished.returncode == 2
    assert BAD[arguments] in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith("error: ")
    assert finished.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_other_settings_is_not_written_over(folder):
    folder, _ = folder
    before = contents(folder)
    for arguments, message in (
        (["--config.seed=1"], "--config.seed=1 (was 0)"),
        (["--config.train.steps=6"], "--config.train.steps=6 (was 12)"),
    ):
        finished = run(f"--workdir={folder}", *arguments)
        assert finished.returncode == 2
        assert f"holds a run with other settings: {message}" in finished.stderr
    assert contents(folder) == before
