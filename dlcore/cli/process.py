"""The process of a command line: the files that it may open, its signals, its result and its end."""

import os
import resource
import signal
import sys
import time
from typing import NoReturn

import jax

from dlcore.cli.errors import print_error
from dlcore.training.faults.signals import caught_signals
from dlcore.training.job import FAILED, PREEMPTED
from dlcore.utils import streams

MOST_OPEN_FILES = 128  # JAX, Orbax and TensorBoard together have about half as many open

# The end of a job's first process ends the others; this gives them time to print their own errors.
LEADER_SECONDS = 2


def prepare() -> None:
    """Lets the signals of `signals.PREEMPTING` end the process, and checks how many files it may open.

    Raises:
        ValueError: the process may open too few files.
    """
    for number in caught_signals():
        signal.signal(number, _stop_at_once)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < MOST_OPEN_FILES:  # -1: no limit
        raise ValueError(
            f"ulimit -n: got {most} files that the process may open, expected at least {MOST_OPEN_FILES}; "
            "ulimit -n 1024"
        )


def print_result(text: str) -> None:
    """Prints the line ``result: TEXT`` on stdout. If stdout takes no text, an error that has it ends the process."""
    try:
        print("result:", text, flush=True)
    except (OSError, ValueError) as error:
        streams.flush(sys.stdout)
        print_error(f"stdout: got {error}, expected a stream that takes the result: {text}")
        end(FAILED)


def end(code: int) -> NoReturn:
    """Ends the process at once.

    After a failed write, threads of the checkpointing remain and would keep the process alive for ever. The other
    processes of a job would wait for this one when they exit.
    """
    streams.flush(sys.stdout)
    streams.flush(sys.stderr)
    if jax.process_count() > 1 and jax.process_index() == 0:
        time.sleep(LEADER_SECONDS)
    os._exit(code)


def _stop_at_once(number: int, _: object) -> None:
    """Handles a signal before and after the training loop, when there is nothing to save.

    It does not raise, since an exception could get lost in one of JAX's callbacks, and it does not use the stream,
    which another function may be writing to.
    """
    try:
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(PREEMPTED)
