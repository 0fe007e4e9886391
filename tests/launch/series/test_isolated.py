"""A run in a process of its own ends as it likes; its worker goes on and knows how it ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dlcore.launch.series.isolated import RunError, call_isolated
from dlcore.launch.series.record import RunFiles
from dlcore.utils.streams import printed_into
from tests.helpers.paths import ROOT

PROGRAM = """
import os, signal, sys, time
print("to stdout")
print("to stderr", sys.argv[1:], file=sys.stderr, flush=True)
{end}
print('result: {{"loss": 0.5, "folder": "x"}}')
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs a program in the place of an experiment; returns its result and its log."""
    (tmp_path / "runs").mkdir()
    files = RunFiles(tmp_path, "abc")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    def call(end, *arguments):
        (tmp_path / "program.py").write_text(PROGRAM.format(end=end))
        with files.locked(0) as attempts, printed_into(files.log):
            try:
                return call_isolated("program", "toy", arguments, files, attempts.lock.fileno())
            finally:
                call.log = files.log.read_text()

    return call


def test_the_result_is_that_of_the_command_line(call, tmp_path):
    assert call("", "--a=b c", "$(x)") == {"loss": 0.5}
    arguments = ["--a=b c", "$(x)", "--mode=toy", f"--workdir={tmp_path / 'runs' / 'abc'}"]
    assert call.log == f"to stderr {arguments}\n"


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("print('error: --config.seed: no\\nlater', file=sys.stderr); sys.exit(2)", "--config.seed: no"),
        ("sys.stderr.close(); os._exit(7)", "to stderr .*"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "ended by SIGKILL, which the system sends if the memory is full",
        ),
    ],
)
def test_a_failure_is_one_line(call, end, message):
    with pytest.raises(RunError, match=f"^{message}$"):
        call(end)


def test_what_was_printed_in_an_earlier_attempt_is_not_the_cause(call):
    with pytest.raises(RunError, match=r"^ZeroDivisionError"):
        call("1 / 0")
    with pytest.raises(RunError, match=r"^to stderr"):
        call("sys.exit(3)")


@pytest.mark.parametrize("end", ["sys.exit(75)", "sys.exit(130)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_run_that_a_signal_stopped_goes_on_later(call, end):
    assert call(end) is None


WORKER = """
import sys
from pathlib import Path
from dlcore.launch.series.isolated import call_isolated
from dlcore.launch.series.record import RunFiles
files = RunFiles(Path(sys.argv[1]), "abc")
files.log.touch()
with files.locked(0) as attempts:
    call_isolated("program", "toy", [], files, attempts.lock.fileno())
"""
SAVES = """
def save(*_):
    time.sleep(1)
    open("saved", "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
open("started", "w").close()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the signal at the death of a parent")
def test_a_run_whose_worker_is_killed_saves_and_holds_its_lock_until_then(call, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(end=SAVES))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, tmp_path], cwd=tmp_path)
    wait_for(tmp_path / "started")
    worker.kill()
    worker.wait()
    files = RunFiles(tmp_path, "abc")
    with pytest.raises(BlockingIOError), files.locked(0):
        pass
    with files.locked(20):
        assert (tmp_path / "saved").exists()
    assert worker.returncode == -signal.SIGKILL


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, os.listdir(path.parent)
        time.sleep(0.01)
