"""The process of a command line: limits that do not fit are named, and the result is never lost."""

import resource
import signal
import subprocess
import sys

import jax
import pytest

from dlcore.cli import process
from dlcore.training.faults.signals import PREEMPTING
from tests.helpers.paths import ROOT


def test_too_few_open_files_are_refused(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    for most in (24, process.MOST_OPEN_FILES - 1):
        monkeypatch.setattr(resource, "getrlimit", lambda which, most=most: (most, most))
        with pytest.raises(
            ValueError, match=f"ulimit -n: got {most} files .*, expected at least 128; ulimit -n 1024"
        ):
            process.prepare()
    for most in (process.MOST_OPEN_FILES, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda which, most=most: (most, most))
        process.prepare()


def test_a_result_that_cannot_be_printed_is_in_the_error(monkeypatch, capsys):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        flush = fileno = lambda self: self.write("")

    codes = []
    monkeypatch.setattr(process, "end", codes.append)
    process.print_result('{"loss": 1}')
    assert capsys.readouterr().out == 'result: {"loss": 1}\n'
    monkeypatch.setattr(sys, "stdout", Full())
    process.print_result('{"loss": 1}')
    assert codes == [1]
    process.print_report("a\nb")
    assert codes == [1, 1]
    assert capsys.readouterr().err.splitlines()[1] == (
        "error: stdout: got [Errno 28] No space left on device, expected a stream that takes the report"
    )
    process.print_result('{"loss": 1}')
    assert capsys.readouterr().err == (
        "error: stdout: got [Errno 28] No space left on device, expected a stream that takes the result: "
        '{"loss": 1}\n'
    )


@pytest.fixture
def job(monkeypatch):
    """What the other processes of a job are told, and the exit code of this one."""
    events = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(process.distributed, "fail", lambda *told: events.append(told))
    monkeypatch.setattr(process.distributed, "leave", lambda: events.append("leaves"))
    monkeypatch.setattr(process, "end", lambda code: events.append(code))
    return events


def run_in_job(error):
    with process.whole_job():
        if error is not None:
            raise error


def test_a_process_that_has_done_its_work_leaves_the_job(job):
    run_in_job(None)
    assert job == ["leaves"]


@pytest.mark.parametrize(
    ("error", "code", "why", "printed"),
    [
        (KeyError("why"), 1, "KeyError: 'why'", "KeyError: 'why'\n"),
        (SystemExit(2), 2, "exit code 2", ""),
        (SystemExit("why"), 1, "why", "why\n"),
    ],
)
def test_an_error_is_told_to_the_job_and_ends_the_process(job, capsys, error, code, why, printed):
    with pytest.raises(type(error)):  # here, where nothing ends the process
        run_in_job(error)
    assert job == [(code, why), code]
    assert capsys.readouterr().err.endswith(printed)


def test_a_process_that_ends_by_itself_is_left_alone(job, monkeypatch):
    with pytest.raises(SystemExit):
        run_in_job(SystemExit(0))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: False)
    for error in (KeyError("why"), SystemExit(2)):
        with pytest.raises(type(error)):
            run_in_job(error)
    assert job == []


PROGRAM = """
import sys
from dlcore.cli import process

process.prepare()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", PREEMPTING, ids=lambda number: number.name)
@pytest.mark.parametrize("closed", [False, True])
def test_a_signal_before_training_ends_the_process_with_75(number, closed):
    command = [sys.executable, "-c", PROGRAM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as running:
        assert running.stdout.readline() == "ready\n"
        if closed:
            running.stderr.close()
        running.send_signal(number)
        assert running.wait(20) == 75
        assert closed or running.stderr.read() == f"stopped by {number.name}\n"


TOY = [sys.executable, "-m", "tests.helpers.plain_toy", "--mode=evaluate"]


@pytest.mark.slow
def test_few_open_files_are_one_line(tmp_path):
    finished = subprocess.run(
        f"ulimit -n 24; exec {' '.join(TOY)} --workdir={tmp_path}",
        shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.splitlines() == [
        "error: ulimit -n: got 24 files that the process may open, expected at least 128; ulimit -n 1024"
    ]
