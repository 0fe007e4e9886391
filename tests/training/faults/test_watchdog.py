"""The watchdog ends a process that hangs, and no other."""

import signal
import subprocess
import sys
import time

import pytest

from dlcore.training.faults.watchdog import Watchdog
from tests.helpers.paths import ROOT

PROGRAM = """
import time
from dlcore.training.faults.watchdog import Watchdog

def stuck_in_a_collective():
    time.sleep(60)

with Watchdog(0.6) as watchdog:
    for _ in range(12):
        time.sleep(0.1)
        watchdog.reset()
    print("reset in time", flush=True)
    stuck_in_a_collective()
"""


def test_a_call_that_hangs_ends_the_process_with_tracebacks():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (finished.returncode, finished.stdout) == (1, "reset in time\n")
    reason = "error: no call has ended for 0.6 s (--config.train.hang_timeout)"
    assert reason in finished.stderr
    assert "stuck_in_a_collective" in finished.stderr.split(reason)[1]


def test_a_watchdog_whose_block_has_ended_does_nothing():
    watchdog = Watchdog(0.2)
    for _ in range(2):  # it can be used again
        with watchdog:
            watchdog.reset()
    time.sleep(0.4)


QUIET = """
import sys, time
from dlcore.training.faults.watchdog import Watchdog

with Watchdog(float(sys.argv[1])) as watchdog:
    print("ready", flush=True)
    {body}
print("went on", flush=True)
"""


def run_quiet(body, hang_timeout, disturb=lambda process: None):
    command = [sys.executable, "-c", QUIET.format(body=body), str(hang_timeout)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        disturb(process)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "went on\n", "")


def test_a_pause_as_of_a_compilation_does_not_count():
    run_quiet("with watchdog.paused():\n        time.sleep(0.9)\n    time.sleep(0.2)", 0.5)


def test_a_process_that_was_suspended_goes_on():
    def suspend(process):
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        process.send_signal(signal.SIGCONT)

    run_quiet("for _ in range(10): time.sleep(0.05); watchdog.reset()", 0.6, suspend)


@pytest.mark.parametrize("hang_timeout", [1e300, 1e-3])
def test_every_positive_timeout_can_be_kept(hang_timeout):
    with Watchdog(hang_timeout) as watchdog, watchdog.paused():
        time.sleep(0.05)


def test_a_process_without_stderr_ends_too():
    command = [sys.executable, "-c", PROGRAM.replace("0.6", "0.3").replace("0.1", "0.02")]
    with open("/dev/full", "w") as full:
        finished = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, timeout=50
        )
    assert (finished.returncode, finished.stdout) == (1, "reset in time\n")
