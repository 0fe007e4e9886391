"""A watchdog that ends a run that hangs, for instance in a collective whose other process is lost."""

import contextlib
import faulthandler
import os
import threading
from collections.abc import Iterator
from typing import Any

from dlcore.training import distributed
from dlcore.training.job import FAILED
from dlcore.utils.streams import say

STDERR = 2


class Watchdog:
    """Ends the process with the tracebacks of all threads if `reset` is not called in time; a context manager.

    A thread counts the time. It runs while the main thread waits for a collective or the file system. It counts its
    own short waits, so the time in which the process was suspended does not count.

    Args:
        hang_timeout: seconds without a call of `reset` after which the process ends. It may end a second, or a tenth
            of ``hang_timeout`` if that is less, sooner or later.
    """

    def __init__(self, hang_timeout: float):
        self._timeout, self._wait = hang_timeout, min(1.0, hang_timeout / 10)
        self._waited, self._pauses, self._left = 0.0, 0, threading.Event()

    def __enter__(self) -> "Watchdog":
        self._left = threading.Event()
        self.reset()
        threading.Thread(target=self._watch, args=(self._left,), name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._left.set()

    def reset(self) -> None:
        """Begins to count anew; cheap, so it may be called after every call of the devices."""
        self._waited = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A context manager in which no time counts, for instance for a compilation; it resets the watchdog."""
        self._pauses += 1
        try:
            yield
        finally:
            self.reset()
            self._pauses -= 1

    def _watch(self, left: threading.Event) -> None:
        while not left.wait(self._wait):
            self._waited += 0 if self._pauses else self._wait
            if self._waited >= self._timeout:
                self._end()

    def _end(self) -> None:
        say(
            f"error: no call has ended for {self._timeout:g} s (--config.train.hang_timeout): the run hangs, and ends "
            "with these tracebacks"
        )
        with contextlib.suppress(OSError):
            faulthandler.dump_traceback(STDERR)
        distributed.tell(FAILED, f"no call has ended for {self._timeout:g} s")
        os._exit(FAILED)
