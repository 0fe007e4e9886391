"""The process of a command line: the files that it may open, its signals, its result and its end."""

import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax

from dlcore.cli.errors import print_error, summary
from dlcore.training import distributed
from dlcore.training.faults.signals import caught_signals
from dlcore.training.job import FAILED, PREEMPTED
from dlcore.utils import streams

MOST_OPEN_FILES = 128  # JAX, Orbax and TensorBoard together have about half as many open


def prepare() -> None:
    """Lets the signals of `job.PREEMPTING` end the process, and checks how many files it may open.

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
    _print(f"result: {text}", f"result: {text}")


def print_report(text: str) -> None:
    """Prints the lines of a report on stdout. If stdout takes no text, an error ends the process."""
    _print(text, "report")


def _print(text: str, what: str) -> None:
    try:
        print(text, flush=True)
    except (OSError, ValueError) as error:
        streams.flush(sys.stdout)
        print_error(f"stdout: got {error}, expected a stream that takes the {what}")
        end(FAILED)


def end(code: int) -> NoReturn:
    """Ends the process at once, but in a job of several processes as `distributed.leave` says.

    After a failed write, threads of the checkpointing remain and would keep the process alive for ever.
    """
    streams.flush(sys.stdout)
    streams.flush(sys.stderr)
    distributed.leave()
    os._exit(code)


@contextlib.contextmanager
def whole_job() -> Iterator[None]:
    """A context manager that ends this process of a job with its block.

    After an error the others are told of it, and the process does not wait for them as the interpreter's own end does.
    Without other processes this does nothing.
    """
    try:
        yield
    except SystemExit as stop:
        if stop.code and jax.distributed.is_initialized():
            code = stop.code if isinstance(stop.code, int) else FAILED
            distributed.fail(code, f"exit code {stop.code}" if code == stop.code else str(stop.code))
            if code != stop.code:
                streams.say(str(stop.code))
            end(code)
        raise
    except Exception as error:
        if jax.distributed.is_initialized():
            distributed.fail(FAILED, summary(error))
            traceback.print_exc()
            end(FAILED)
        raise
    distributed.leave()


def _stop_at_once(number: int, _: object) -> None:
    """Handles a signal before and after the training loop, when there is nothing to save.

    It does not raise, since an exception could get lost in one of JAX's callbacks, and it does not use the stream,
    which another function may be writing to.
    """
    reason = f"stopped by {signal.Signals(number).name}"
    try:
        os.write(2, f"{reason}\n".encode())
        distributed.tell(PREEMPTED, reason)
    finally:
        os._exit(PREEMPTED)
