"""The watchdog ends a process that hangs, and no other."""

import subprocess
import sys
import time

from dlcore.train.faults.watchdog import Watchdog
from tests.helpers.paths import ROOT

PROGRAM = """
import time
from dlcore.train.faults.watchdog import Watchdog

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
