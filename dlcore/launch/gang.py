"""Processes of one job on this machine: they start together, get the same signals, and end together."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from dlcore.launch.output import STDERR, STDOUT, Output

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
DRAIN_SECONDS = 2  # how long to wait for output after the end: a daemon of a process may keep its pipes open

# A process that reads numbers of process groups and kills the groups when its stdin ends, as it does when the launcher
# is gone, even by SIGKILL.
GUARD = 'while read -r group; do groups="$groups -$group"; done; kill -s KILL -- $groups'


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        process: its number.
        code: its exit code; minus the number of the signal that ended it.
        killed: True if the gang killed it, since another one had failed.
    """

    process: int
    code: int
    killed: bool = False

    @property
    def exit_code(self) -> int:
        """Its exit code as a shell has it: 128 + N after signal N."""
        return self.code if self.code >= 0 else 128 - self.code

    @property
    def text(self) -> str:
        """What happened, in words.

        >>> Ended(1, -9).text
        'process 1 was killed by SIGKILL'
        """
        if self.code >= 0:
            return f"process {self.process} ended with exit code {self.code}"
        return f"process {self.process} was killed by {signal.Signals(-self.code).name}"


class Gang(contextlib.ExitStack):
    """Runs processes together; a context manager, at whose end none of them runs.

    Each process has its own session, so that a Ctrl-C reaches it once, and its own children end with it.

    Args:
        output: gets the lines of all processes.
        grace: seconds that the others have to end after the first one that failed; then they are killed.
    """

    def __init__(self, output: Output, grace: float):
        super().__init__()
        self._output, self._grace = output, grace
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._copies: list[threading.Thread] = []
        self._signals: list[int] = []

    def __enter__(self) -> "Gang":
        nothing = subprocess.DEVNULL
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD],
            stdin=subprocess.PIPE,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
            bufsize=0,
        )
        self.callback(self._dismiss_guard)
        self.callback(self._kill_all)
        for number in FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as SIGHUP is under nohup
                self.callback(signal.signal, number, signal.signal(number, self._forward))
        return self

    def start(
        self, process: int, argv: Sequence[str], environment: Mapping[str, str], terminal: bool = False
    ) -> None:
        """Starts a process.

        Args:
            process: its number.
            argv: the program and its arguments.
            environment: its environment variables.
            terminal: True if it writes to this process's stderr itself.

        Raises:
            OSError: the system starts no more processes.
        """
        child = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if terminal else subprocess.PIPE,
            start_new_session=True,
        )
        self._running[process] = child
        assert self._guard.stdin is not None
        self._guard.stdin.write(b"%d\n" % child.pid)
        for number in self._signals:  # they came while the processes were started
            child.send_signal(number)
        for source, target in ((child.stdout, STDOUT), (child.stderr, STDERR)):
            if source is not None:
                self._copies.append(_start_thread(self._output.copy, process, source, target))
        _start_thread(self._report, process, child)

    def _report(self, process: int, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        self._ended.put(process)

    def wait(self) -> list[Ended]:
        """Waits until all processes have ended; returns how they ended, in the order in which they did."""
        ended: list[Ended] = []
        deadline, late = None, set()
        while self._running:
            try:
                process = self._ended.get(timeout=deadline and max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                deadline, late = None, set(self._running)
                self._kill_all()
                continue
            child = self._running.pop(process)
            _kill_group(child)  # processes that it started and that still run
            ended.append(Ended(process, child.returncode, process in late))
            if child.returncode and deadline is None and not late:
                deadline = time.monotonic() + self._grace
        drained = time.monotonic() + DRAIN_SECONDS
        for thread in self._copies:
            thread.join(max(0.0, drained - time.monotonic()))
        return ended

    def _forward(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)
        for child in list(self._running.values()):
            child.send_signal(number)

    def _kill_all(self) -> None:
        for child in self._running.values():
            _kill_group(child)
        for child in self._running.values():
            child.wait()

    def _dismiss_guard(self) -> None:
        self._guard.kill()
        self._guard.communicate()


def _start_thread(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # no process of the group is left
        os.killpg(child.pid, signal.SIGKILL)
