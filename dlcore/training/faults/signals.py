"""Signals that stop a run: Ctrl-C, and `PREEMPTING`, which announce that the machine, time or terminal is taken."""

import contextlib
import os
import signal
import socket
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

from dlcore.training import distributed
from dlcore.training.job import INTERRUPTED, PREEMPTED, PREEMPTING
from dlcore.utils.streams import say


def caught_signals() -> set[signal.Signals]:
    """`PREEMPTING` without the signals that this process ignores, as it ignores SIGHUP under ``nohup``."""
    return {number for number in PREEMPTING if signal.getsignal(number) is not signal.SIG_IGN}


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run; its state at ``step`` is saved, unless no step was done yet.

    Args:
        step: the number of steps in the saved state.
        signal_number: the number of the signal.

    Attributes:
        step: the number of steps in the saved state.
        exit_code: 130 after Ctrl-C; 75, "start me again", after a signal of `PREEMPTING`.
    """

    def __init__(self, step: int, signal_number: int):
        name = "Ctrl-C" if signal_number == signal.SIGINT else signal.Signals(signal_number).name
        super().__init__(f"stopped by {name} after step {step}; everything up to it is saved")
        self.step = step
        self.exit_code = INTERRUPTED if signal_number == signal.SIGINT else PREEMPTED


class StopSignals(contextlib.ExitStack):
    """Catches the signals that stop a run, so that the run can save its state between two calls; a context manager.

    A Ctrl-C after another signal raises KeyboardInterrupt at once. If the run has not left the block ``grace`` seconds
    after a signal of `PREEMPTING`, for instance because of a long compilation or write, the process ends with the exit
    code 75, and the newest checkpoint is what is saved. A signal that the process ignores, as SIGHUP under ``nohup``,
    stays ignored. In a job of several processes, JAX's preemption service handles SIGTERM and makes all processes stop
    after the same step.

    Python lets only the main thread handle signals: in another thread nothing is caught.

    Args:
        grace: seconds that the run has after a signal of `PREEMPTING` to save its state and leave the block.
    """

    def __init__(self, grace: float):
        super().__init__()
        self._grace, self._caught, self._ended = min(grace, threading.TIMEOUT_MAX), 0, threading.Event()

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        caught = caught_signals() | {signal.SIGINT}
        if jax.process_count() > 1:
            caught.discard(signal.SIGTERM)
        for signal_number in caught:
            self.callback(signal.signal, signal_number, signal.getsignal(signal_number))
            signal.signal(signal_number, self._handle)
        self._start_deadline_thread()
        return self

    def _handle(self, signal_number: int, _: FrameType | None) -> None:
        if self._caught and signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        self._caught = self._caught or signal_number
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def _start_deadline_thread(self) -> None:
        """Starts a thread that hears of signals while the main thread is in XLA or in a write.

        Python's C code writes each signal's number into a socket at once, before any Python code runs.
        """
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self.callback(reader.close)
        self.callback(writer.close)
        self.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False))
        thread = threading.Thread(target=self._end_in_time, args=(reader,), name="deadline", daemon=True)
        thread.start()
        self.callback(thread.join)
        self.callback(writer.send, b"\0")  # wakes the thread, so that it ends and `join` returns
        self.callback(self._ended.set)

    def _end_in_time(self, reader: socket.socket) -> None:
        """Ends the process ``grace`` seconds after a signal of `PREEMPTING`, unless the block is left before."""
        while not self._ended.is_set():
            signal_number = reader.recv(1)[0]
            if signal_number in PREEMPTING and not self._ended.wait(self._grace):
                reason = (
                    f"stopped by {signal.Signals(signal_number).name}: not at the end of a call after "
                    f"{self._grace:.0f} s; the newest checkpoint is what is saved"
                )
                say(reason)
                distributed.tell(PREEMPTED, reason)
                os._exit(PREEMPTED)

    def signal_at(self, step: int) -> int:
        """The number of the signal that stops the run after ``step``; 0 if none does.

        In a job of several processes, all must ask for the same steps, and all get a signal after the same step.
        """
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            return self._caught or signal.SIGTERM
        return 0 if jax.process_count() > 1 else self._caught
