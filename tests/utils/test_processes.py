"""A process that is bound to another one ends when that one ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dlcore.utils.processes import bound_to_this_process


def test_the_command_runs_with_its_arguments_and_exit_code():
    program = "import sys; print(sys.argv[1:]); sys.exit(3)"
    ended = subprocess.run(
        bound_to_this_process([sys.executable, "-c", program, "a b", "$(x)", ""]),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (3, "['a b', '$(x)', '']\n")


STARTER = """
import subprocess, sys, time
from dlcore.utils.processes import bound_to_this_process
child = subprocess.Popen(bound_to_this_process([sys.executable, "-c", sys.argv[1]]), stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode(), flush=True)
time.sleep(60)
"""
CHILD = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone sends the signal")
def test_it_gets_a_signal_when_its_starter_is_killed():
    starter = subprocess.Popen([sys.executable, "-c", STARTER, CHILD], stdout=subprocess.PIPE, text=True)
    child = int(starter.stdout.readline().split()[0])
    assert is_alive(child)
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_does_not_start_for_a_starter_that_is_gone(tmp_path):
    command = bound_to_this_process(["/bin/touch", str(tmp_path / "started")])
    command[command.index(str(os.getpid()))] = "1"
    assert subprocess.run(command).returncode == 0
    assert not (tmp_path / "started").exists()


def test_the_signal_may_be_another_one():
    assert str(int(signal.SIGKILL)) in bound_to_this_process(["/bin/true"], signal.SIGKILL)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
