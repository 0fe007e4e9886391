"""TODO."""

import faulthandler
import sys
import threading
import time
from typing import Any

STDERR = 2


class Watchdog:
    """Ends the process with the tracebacks of all threads where ``alive`` was not called for so long.

    It is C's thread, which also sees a main thread that is stuck in a collective or in the file system.

    Args:
        hang_timeout: seconds.
    """

    def __init__(self, hang_timeout: float):
        self._patience, self._armed, self._left = hang_timeout, 0.0, threading.Event()
        self._margin = min(1.0, hang_timeout / 10)

    def __enter__(self) -> "Watchdog":
        self._armed = 0.0
        self._left.clear()
        self.alive()
        threading.Thread(target=self._explain, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._left.set()

    def alive(self) -> None:
        now = time.monotonic()
        if now - self._armed > self._margin:  # arming starts a thread: not for every call
            faulthandler.dump_traceback_later(self._patience, exit=True, file=STDERR)
            self._armed = now

    def _explain(self) -> None:
        """Says directly before the tracebacks why they come."""
        waited = 0.0
        while not self._left.wait(self._patience - self._margin - waited):
            waited = time.monotonic() - self._armed
            if waited >= self._patience - self._margin:
                print(
                    f"error: no call has ended for {self._patience:g} s (--config.train.hang_timeout): the run ends as "
                    "stuck, here",
                    file=sys.stderr,
                    flush=True,
                )
                return
