"""What ends a run from outside: Ctrl-C, SIGTERM and SIGUSR1, a lost machine's notice, a call that never returns."""

import contextlib
import os
import signal
import socket
import sys
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

INTERRUPTED, PREEMPTED = 130, 75


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal; its state at ``step`` is saved.

    Attributes:
        step: of the state.
        exit_code: 130 after Ctrl-C; 75, "start me again", after SIGTERM and SIGUSR1.
    """

    def __init__(self, step: int, number: int):
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"stopped by {name} after step {step}; everything up to it is saved")
        self.step = step
        self.exit_code = INTERRUPTED if number == signal.SIGINT else PREEMPTED


class StopSignals(contextlib.ExitStack):
    """Catches the signals that stop a run, so that it ends between two calls, saved; a context manager.

    A second Ctrl-C stops at once, as ever. SIGTERM and SIGUSR1 that find the process in a long compilation or write,
    where Python cannot act, end it after ``grace`` seconds with what is saved. In several processes JAX's
    preemption service, which has SIGTERM then, makes all of them stop behind the same step.

    Python lets only the main thread handle signals: elsewhere nothing is caught.

    Args:
        grace: seconds.
    """

    def __init__(self, grace: float):
        super().__init__()
        self._grace, self._caught, self._ended = grace, 0, threading.Event()

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        caught = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
        if jax.process_count() > 1:
            caught.remove(signal.SIGTERM)
        for number in caught:
            self.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, self._handle)
        self._watch_for_the_deadline()
        return self

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._caught = self._caught or number
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def _watch_for_the_deadline(self) -> None:
        """Reads signals from C's side, which hears them while the main thread is in XLA or in a write."""
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        self.callback(ours.close)
        self.callback(pythons.close)
        self.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False))
        thread = threading.Thread(target=self._end_in_time, args=(ours,), name="deadline", daemon=True)
        thread.start()
        self.callback(thread.join)
        self.callback(pythons.send, b"\0")  # wakes the thread, whose end `join` waits for
        self.callback(self._ended.set)

    def _end_in_time(self, signals: socket.socket) -> None:
        while not self._ended.is_set():
            number = signals.recv(1)[0]
            if number in (signal.SIGTERM, signal.SIGUSR1) and not self._ended.wait(self._grace):
                print(
                    f"stopped by {signal.Signals(number).name}: not at the end of a call after {self._grace:.0f} s; "
                    "the newest checkpoint is what is saved",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(PREEMPTED)

    def requested(self, step: int) -> int:
        """The number of the signal that asks to stop behind ``step``; 0 where none does."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            return self._caught or signal.SIGTERM
        return 0 if jax.process_count() > 1 else self._caught
