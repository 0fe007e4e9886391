"""A watchdog that ends a run that hangs, for instance in a collective whose other process is lost."""

import faulthandler
import sys
import threading
import time
from typing import Any

STDERR = 2


class Watchdog:
    """Ends the process with the tracebacks of all threads if `reset` is not called in time; a context manager.

    The timer is a thread in C, which also works while the main thread is stuck in a collective or the file system.

    Args:
        hang_timeout: seconds without a call of `reset` after which the process ends. It may end up to a second, or a
            tenth of ``hang_timeout`` if that is less, sooner: see `reset`.
    """

    def __init__(self, hang_timeout: float):
        self._timeout, self._last_reset, self._left = hang_timeout, 0.0, threading.Event()
        self._margin = min(1.0, hang_timeout / 10)

    def __enter__(self) -> "Watchdog":
        self._last_reset = 0.0
        self._left.clear()
        self.reset()
        threading.Thread(target=self._explain, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._left.set()

    def reset(self) -> None:
        """Starts the timer again; cheap, so it may be called after every call of the devices.

        It does nothing if the timer was started less than a second (or a tenth of ``hang_timeout``) ago.
        """
        now = time.monotonic()
        if now - self._last_reset > self._margin:  # starting the timer starts a thread: not for every call
            faulthandler.dump_traceback_later(self._timeout, exit=True, file=STDERR)
            self._last_reset = now

    def _explain(self) -> None:
        """Prints the reason directly before the tracebacks."""
        waited = 0.0
        while not self._left.wait(self._timeout - self._margin - waited):
            waited = time.monotonic() - self._last_reset
            if waited >= self._timeout - self._margin:
                print(
                    f"error: no call has ended for {self._timeout:g} s (--config.train.hang_timeout): the run hangs, "
                    "and ends with these tracebacks",
                    file=sys.stderr,
                    flush=True,
                )
                return
