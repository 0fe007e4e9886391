"""A run in a process of its own, which can crash without its worker."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.cli.errors import read_error
from dlcore.launch.series.record import RunFiles
from dlcore.training.job import INTERRUPTED, PREEMPTED
from dlcore.utils.processes import bound_to_this_process

STOPPED = (PREEMPTED, INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)


class RunError(Exception):
    """A run failed; the message is one line that says why."""


def call_isolated(
    module: str, mode: str, arguments: Sequence[str], files: RunFiles, lock: int
) -> Mapping[str, Any] | None:
    """Runs an experiment as ``python -m MODULE`` does, and returns its result.

    The process also holds the run's lock. It gets SIGTERM when its worker dies, so it saves its state before another
    worker goes on.

    Args:
        module: the experiment's module.
        mode: what it does.
        arguments: its flags.
        files: the files of the run, whose log is this process's stderr.
        lock: the file descriptor of the run's lock.

    Returns:
        The result. None: a signal that announces the end of the machine's time stopped the run, which goes on when it
        is started again.

    Raises:
        RunError: it ended with another exit code than 0, or by a signal; its log has the rest.
    """
    command = [sys.executable, "-m", module, *arguments, f"--mode={mode}", f"--workdir={files.folder}"]
    before = files.log.stat().st_size
    ended = subprocess.run(
        bound_to_this_process(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=(lock,),
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode in STOPPED:
        return None
    if ended.returncode:
        with files.log.open("rb") as log:
            log.seek(before)
            raise RunError(_why(ended.returncode, log.read().decode(errors="replace")))
    result = json.loads(ended.stdout.splitlines()[-1].removeprefix("result: "))
    return {name: value for name, value in result.items() if name != "folder"}


def _why(code: int, printed: str) -> str:
    """In one line, why a process ended with this code after it had printed this."""
    if code == -signal.SIGKILL:
        return "ended by SIGKILL, which the system sends if the memory is full"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return read_error(printed, code)
