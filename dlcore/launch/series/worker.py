"""A worker of a Dask cluster, which does runs until its scheduler has gone or lets it go:

    python -m dlcore.launch.series.worker --scheduler=FOLDER/cluster/scheduler.json

The exit code is then 0, also if there is no scheduler any more. It is 75 after a signal that takes the machine away, so
that what started the worker starts it again.
"""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

from absl import flags

from dlcore.launch.launcher import FLAGS, FlagRow, run_launcher
from dlcore.launch.series.clusters import check_installed, prepare_dask
from dlcore.launch.series.scheduler import read_scheduler
from dlcore.training.job import PREEMPTED, PREEMPTING
from dlcore.utils.streams import say

CONNECT_SECONDS = 60.0
CLOSE_SECONDS = 5.0  # then a run that is not in a process of its own is cut
SIGNALS = (*PREEMPTING, signal.SIGINT)

ROWS: list[FlagRow] = [
    (flags.DEFINE_string, "scheduler", None, "The scheduler: its address or the path of its file."),
]


def launch(arguments: list[str]) -> int:
    """Works for the scheduler that the flags name, and returns the exit code.

    Raises:
        ValueError: no scheduler is named, the file is none of a scheduler, or Dask is not installed.
    """
    if arguments:
        raise ValueError(f"{arguments[0]}: no such argument, expected flags alone")
    place = FLAGS.scheduler
    if place is None:
        raise ValueError("--scheduler: got none, expected its address or the path of its file")
    check_installed()
    if "://" not in place and not Path(place).exists():
        return _without_scheduler(place)
    prepare_dask()
    return asyncio.run(_work(place))


def _without_scheduler(place: str) -> int:
    say(f"{place}: no scheduler is there any more, so there is nothing to do")
    return 0


async def _work(place: str) -> int:
    """Serves the scheduler until it or a signal ends the work; returns the exit code."""
    from distributed import Nanny

    stopped = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    options: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": 0,
        "name": os.environ.get("DASK_WORKER_NAME"),  # by which Dask's operator for Kubernetes knows it
        "death_timeout": CONNECT_SECONDS,
        "silence_logs": logging.WARNING,
    }
    scheduler = read_scheduler(place)
    nanny = Nanny(scheduler["address"], security=scheduler["security"], **options)
    stop = asyncio.ensure_future(stopped.wait())
    served = asyncio.ensure_future(_serve(nanny))
    await asyncio.wait([served, stop], return_when=asyncio.FIRST_COMPLETED)
    if stopped.is_set():
        await nanny.close(timeout=CLOSE_SECONDS, reason="signal")
        return PREEMPTED
    return served.result() and _without_scheduler(place)


async def _serve(nanny: Any) -> bool:
    """Starts the worker and waits for its end; returns True if there was no scheduler."""
    try:
        await nanny
    except (OSError, TimeoutError):
        return True
    await nanny.finished()
    return False


if __name__ == "__main__":
    run_launcher(ROWS, launch)
