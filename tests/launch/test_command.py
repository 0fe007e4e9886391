"""The command of a launcher is kept byte for byte, has a folder, and is refused if it cannot run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlcore.launch import command as command_module
from dlcore.launch.command import Command, check_command, check_module, read_command

NASTY = ("--config.data.folder=a b", "--config.x='\";$(touch no)`no`\n\\", "--config.y", "-3", "*", "")


def test_the_flags_stay_as_they_are():
    command = read_command(["experiments.digits", *NASTY, "--run=first"])
    assert command.arguments == (*NASTY, "--run=first")
    assert command.argv == ["-m", "experiments.digits", *NASTY, "--run=first"]
    assert command.folder == Path("runs/digits/first").absolute()


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        (["--workdir=/tmp/a b"], "/tmp/a b"),
        (["--workdir", "/tmp/a"], "/tmp/a"),
        (["--config.seed", "3", "--workdir", "/tmp/a"], "/tmp/a"),
        (["-run=x", "--run=y"], "runs/digits/y"),
    ],
)
def test_a_named_folder_is_found(given, folder):
    command = read_command(["experiments.digits", *given])
    assert command.arguments == tuple(given)
    assert command.folder == Path(folder).absolute()


def test_a_command_without_a_folder_gets_one():
    command = read_command(["experiments.digits", "--config.seed=3"])
    assert command.arguments == ("--config.seed=3", f"--workdir={command.folder}")
    assert re.fullmatch(r"[\d-]{10}_[\d-]{8}", command.folder.name)
    assert command.folder.parent == Path("runs/digits").absolute()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "experiment: got none, expected a module such as experiments.digits"),
        (["experiments.digts"], "experiment: got 'experiments.digts', .*did you mean 'digits'"),
        (
            ["experiment.digits"],
            "experiment: got 'experiment.digits', expected a module that python -m finds in ",
        ),
        (["experiments/digits.py"], "experiment: got 'experiments/digits.py', expected a module"),
        ([""], "experiment: got '', expected a module"),
        (["..digits"], "experiment: got '..digits', expected a module"),
        (["experiments.digits", "--run=a/b"], "--run: got 'a/b', expected letters"),
        (["experiments.digits", "--run=a", "--workdir=b"], "--run: got a --workdir too"),
        (["experiments.digits", "--workdir="], "--workdir: got an empty text"),
        (["experiments.digits", "--run"], "Missing value for flag --run"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_command(arguments)


def test_modules_are_found_without_importing_them(monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.cifar10", raising=False)
    check_module("experiments.cifar10")
    assert "experiments.cifar10" not in sys.modules
    check_module("json")


def fake_python(tmp_path, monkeypatch, text):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{text}\n")
    python.chmod(0o755)
    monkeypatch.setattr(command_module.sys, "executable", str(python))


def test_the_experiment_is_built_for_the_devices_of_the_job(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, f'printf "%s\\0" "$@" "$JAX_PLATFORMS" > {tmp_path}/given')
    check_command(Command("experiments.digits", NASTY, tmp_path), devices=8)
    given = (tmp_path / "given").read_text().split("\0")[:-1]
    assert given == [
        "-m",
        "experiments.digits",
        *NASTY,
        "--mode=inspect",
        "--nocompile",
        "--target=cpu:8",
        "cpu",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo note >&2; echo 'error: --config.seed: no' >&2; echo bye >&2; exit 2", "--config.seed: no"),
        ("echo Traceback >&2; echo 'KeyError: 3' >&2; exit 1", "KeyError: 3"),
        ("exit 7", "exit code 7"),
    ],
)
def test_what_the_experiment_refuses_is_refused_in_its_own_words(tmp_path, monkeypatch, text, message):
    fake_python(tmp_path, monkeypatch, text)
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_command(Command("experiments.digits", (), tmp_path), devices=1)


def test_a_launcher_starts_without_jax():
    found = "import sys, dlcore.launch.command, dlcore.cli.parsing; print('jax' in sys.modules, 'numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]
