"""Runs ``launch/local`` with several processes on a small script in place of an experiment."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.paths import ROOT

LAUNCHER = [sys.executable, "-m", "dlcore.launch.local"]


class Script:
    """A module ``script`` in a folder; its variable ``process`` is the process's number.

    Args:
        folder: the folder, from which the launcher is called.
        text: what the module does after its imports.
    """

    def __init__(self, folder: Path, text: str):
        head = "import os, pathlib, signal, sys, time\nprocess = int(os.environ['DLCORE_PROCESS_ID'])\n"
        (folder / "script.py").write_text(head + textwrap.dedent(text))
        self.folder = folder

    def start(self, *flags: str, processes: int = 2, **options: object) -> "subprocess.Popen[bytes]":
        command = [*LAUNCHER, f"--processes={processes}", "--", "script", "--run=a", *flags]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with not_ignored(signal.SIGINT, signal.SIGHUP):
            return subprocess.Popen(command, cwd=self.folder, env=environ, **options)  # type: ignore[call-overload]

    def run(self, *flags: str, processes: int = 2) -> tuple[int, str, str]:
        """The exit code, stdout and stderr of the launcher."""
        launcher = self.start(*flags, processes=processes)
        out, err = launcher.communicate(timeout=60)
        return launcher.returncode, out.decode(), err.decode()

    def wait_for(self, *names: str) -> list[str]:
        """Waits until the processes have written files into the folder; returns what is in them."""
        deadline = time.monotonic() + 30
        paths = [self.folder / name for name in names]
        while not all(path.exists() and path.read_text() for path in paths):
            assert time.monotonic() < deadline, names
            time.sleep(0.01)
        return [path.read_text() for path in paths]


@contextlib.contextmanager
def not_ignored(*numbers: signal.Signals) -> Iterator[None]:
    """A context manager in which programs start as in a shell, though this one may run in the background."""
    handlers = {number: signal.getsignal(number) for number in numbers}
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is signal.SIG_IGN else handler)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_gone(pid: int) -> bool:
    """True if there is no such process any more, soon at the latest."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False
