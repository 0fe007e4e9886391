"""Signals that stop a run between two calls, and the deadline if no call ends."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from dlcore.training.faults.signals import PREEMPTING, Interrupted, StopSignals, caught_signals
from tests.helpers.paths import ROOT

SIGNALS = (signal.SIGINT, *PREEMPTING)


@pytest.mark.parametrize(
    ("signal_number", "name", "exit_code"),
    [
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 75),
        (signal.SIGUSR1, "SIGUSR1", 75),
        (signal.SIGUSR2, "SIGUSR2", 75),
        (signal.SIGXCPU, "SIGXCPU", 75),
        (signal.SIGHUP, "SIGHUP", 75),
    ],
)
def test_an_interrupted_run_names_its_signal_step_and_exit_code(signal_number, name, exit_code):
    error = Interrupted(7, signal_number)
    assert str(error) == f"stopped by {name} after step 7; everything up to it is saved"
    assert (error.step, error.exit_code) == (7, exit_code)
    assert isinstance(error, KeyboardInterrupt)


@pytest.mark.parametrize("signal_number", SIGNALS)
def test_a_signal_is_kept_until_the_loop_asks_for_it(signal_number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopSignals(grace=60) as stop_signals:
        assert stop_signals.signal_at(3) == 0
        os.kill(os.getpid(), signal_number)
        assert stop_signals.signal_at(3) == stop_signals.signal_at(4) == signal_number
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_that_the_process_ignores_stays_ignored():
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert caught_signals() == {*PREEMPTING} - {signal.SIGHUP}
        with StopSignals(grace=60) as stop_signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop_signals.signal_at(3) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_any_grace_can_be_kept():
    with StopSignals(grace=1e300) as stop_signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_signals.signal_at(3) == signal.SIGTERM


def test_the_first_signal_counts_and_a_second_ctrl_c_stops_at_once():
    with StopSignals(grace=60) as stop_signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_signals.signal_at(1) == signal.SIGUSR1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_than_the_main_thread_catches_nothing():
    before, found = [signal.getsignal(each) for each in SIGNALS], []

    def in_thread():
        with StopSignals(grace=60) as stop_signals:
            found.extend(signal.getsignal(each) for each in SIGNALS)
            found.append(stop_signals.signal_at(1))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert found == [*before, 0]


PROGRAM = """
import hashlib
from dlcore.training.faults.signals import StopSignals

with StopSignals(grace=0.3):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # a minute in which Python handles no signal
"""


@contextlib.contextmanager
def started_program():
    command, pipe = [sys.executable, "-c", PROGRAM], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


def test_the_process_ends_in_time_if_the_main_thread_handles_no_signal():
    with started_program() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75
        assert "stopped by SIGTERM: not at the end of a call after 0 s" in process.stderr.read()


def test_the_process_ends_in_time_also_if_nobody_reads_its_stderr():
    with started_program() as process:
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 75
