"""The output of several processes as one: whole lines, each with the number of its process."""

import contextlib
import os
import threading
from collections import deque
from typing import BinaryIO

from dlcore.training.job import named_process

STDOUT, STDERR = 1, 2
KEPT_LINES = 500
CLEAR_LINE, SHOW_CURSOR = b"\r\x1b[2K", b"\x1b[?25h"
# How the last words of a process begin: a traceback, an error line of a command line, a crash in C or C++.
LAST_WORDS = (b"Traceback (most recent call last)", b"error: ", b"Fatal Python error")


class Output:
    """Copies the lines of processes to this process's own stdout and stderr, byte for byte after ``[PROCESS] ``.

    A line is never torn by another one. What stdout or stderr does not take is lost, so that no process has to wait
    for a closed pipe.

    Args:
        bar: True if a process writes to the terminal of stderr itself. Its progress bar is then cleared before each
            line, and the process draws the bar anew.

    Attributes:
        named: the process that the others name as the first that ended; None if they name none.
    """

    def __init__(self, bar: bool = False):
        self._bar, self._lock = bar, threading.Lock()
        self._kept: dict[int, deque[bytes]] = {}
        self._last: int | None = None
        self.named: int | None = None

    def copy(self, process: int, source: BinaryIO, target: int) -> None:
        """Copies lines until the source ends; each source needs a thread of its own.

        Args:
            process: the process's number.
            source: the end of a pipe from which the process's output is read.
            target: `STDOUT` or `STDERR`.
        """
        with source:
            for line in source:
                self._write(process, line.removesuffix(b"\n"), target)

    def _write(self, process: int, line: bytes, target: int) -> None:
        clear = CLEAR_LINE if self._bar and os.isatty(target) else b""
        with self._lock:
            if target == STDERR:
                self._kept.setdefault(process, deque(maxlen=KEPT_LINES)).append(line)
                self._last = process
                if self.named is None:
                    self.named = named_process(line.decode(errors="replace"))
            _write_all(target, b"%s[%d] %s\n" % (clear, process, line))

    def repeat_last_words(self, process: int) -> bool:
        """Prints the error of a process again, unless it is the last that stderr got.

        Args:
            process: the process's number.

        Returns:
            True if the process has printed an error: a traceback, an ``error:`` line or a crash.
        """
        lines = list(self._kept.get(process, ()))
        begins = [index for index, line in enumerate(lines) if line.startswith(LAST_WORDS)]
        if begins and self._last != process:
            for line in lines[begins[-1] :]:
                self._write(process, line, STDERR)
        return bool(begins)

    def close(self) -> None:
        """Shows the terminal's cursor again, which the bar of a killed process leaves hidden."""
        if self._bar:
            _write_all(STDERR, SHOW_CURSOR)


def _write_all(target: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(target, data) :]
