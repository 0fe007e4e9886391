"""Many runs of one experiment as a job: checks their file, does the runs on a cluster, and writes their table."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from absl import flags

from dlcore.cli.errors import print_error
from dlcore.launch.command import Command, check_command
from dlcore.launch.launcher import FlagRow
from dlcore.launch.series.clusters import Cluster, ClusterError, check_installed
from dlcore.training.job import FAILED, INTERRUPTED, PREEMPTED
from dlcore.utils.files import to_json, user_path
from dlcore.utils.locks import lock_file, open_lock
from dlcore.utils.run_paths import CONFIG, LOCK, RUNS
from dlcore.utils.streams import say

if TYPE_CHECKING:
    from dlcore.launch.series.plan import Series
    from dlcore.launch.series.record import Record

OpenCluster = Callable[[int], AbstractContextManager[Cluster]]

FLAG_ROWS: list[FlagRow] = [
    (
        flags.DEFINE_string,
        "runs",
        None,
        "A file with the flags of one run on each line: many runs on Dask workers.",
    ),
    (
        flags.DEFINE_boolean,
        "isolate",
        False,
        "Give each of the runs a process of its own, which may crash alone.",
    ),
]
MOST_SHOWN = 10  # failed runs


class Stopped(BaseException):
    """A signal stops the series; the argument is its number."""


def plan_runs(command: Command, file: str) -> "Series":
    """The runs of a file, every line of which is checked; nothing is written.

    Args:
        command: the experiment, with the flags that all runs have and the folder of the series.
        file: the path of the file of runs, see `runs_file`.

    Raises:
        ValueError: Dask is not installed, or something is wrong in the flags or in a line of the file.
        OSError: the file cannot be read.
    """
    check_installed()
    from dlcore.launch.series.plan import plan_series  # it imports JAX

    return plan_series(command, user_path("--runs", file))


def check_first(series: "Series", devices: int) -> None:
    """Builds the experiment of the first run, see `check_command`; for workers that cost something before they run.

    Args:
        series: the runs.
        devices: the number of devices of a worker.

    Raises:
        ValueError: the experiment refuses its flags.
    """
    check_command(Command(series.module, series.runs[0].arguments, series.folder), devices)


def do_runs(series: "Series", open_cluster: OpenCluster, *, isolate: bool) -> int:
    """Does runs on a cluster, writes their table, and prints a ``result: {JSON}`` line.

    Runs that were done before are not done again; those that failed are.

    Args:
        series: the runs.
        open_cluster: gets the number of runs to do; a context manager with the cluster.
        isolate: True if each run has a process of its own.

    Returns:
        The exit code: 0 if all runs are done; 1 if some failed, or the cluster is lost; 130 after Ctrl-C; 75 after
        SIGTERM or another signal that takes the machine or the terminal away.

    Raises:
        ValueError: the folder is that of a single run, or the cluster cannot be opened.
        BlockingIOError: another process does the runs of this folder.
    """
    from dlcore.launch.series.execute import read_records

    began = time.monotonic()
    with _claimed(series.folder):
        records, stopped_by = read_records(series), 0
        try:
            with _stop_signals():
                _do_missing(series, records, open_cluster, isolate)
        except Stopped as stop:
            stopped_by = stop.args[0]
        except ClusterError as error:
            print_error(str(error))
            return FAILED
        return _report(series, records, time.monotonic() - began, stopped_by)


def _do_missing(
    series: "Series", records: "dict[str, Record]", open_cluster: OpenCluster, isolate: bool
) -> None:
    from dlcore.launch.series.execute import execute, missing_runs

    missing = missing_runs(series, records)
    if missing:
        with open_cluster(len(missing)) as cluster:
            execute(cluster, series, records, isolate=isolate)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """A context manager that holds the lock of the series' folder, which is made if it is missing."""
    if (folder / CONFIG).exists():
        raise ValueError(
            f"--workdir: {folder} is the folder of a single run, expected one of many runs, or a new one"
        )
    (folder / RUNS).mkdir(parents=True, exist_ok=True)
    with open_lock(folder / LOCK) as lock:
        lock_file(
            lock, f"{folder}: another process does the runs of this folder; wait until it ends, or stop it"
        )
        yield


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    """A context manager in which the first signal that stops a run raises `Stopped`; later ones are ignored."""
    from dlcore.training.faults.signals import caught_signals

    numbers = caught_signals() | {signal.SIGINT}
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, _: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(series: "Series", records: "Mapping[str, Record]", seconds: float, stopped_by: int) -> int:
    """Writes the table, says how the series ended, and returns the exit code."""
    from dlcore.launch.series.table import write_table

    table = write_table(series, records)
    failed = [run.name for run in series.runs if run.name in records and records[run.name].error is not None]
    for name in failed[:MOST_SHOWN]:
        say(f"failed: {name}: {records[name].error}")
    if len(failed) > MOST_SHOWN:
        say(f"failed: {len(failed) - MOST_SHOWN} more, see {table}")
    counts = {"runs": len(series.runs), "done": len(records) - len(failed), "failed": len(failed)}
    if stopped_by:
        by = "Ctrl-C" if stopped_by == signal.SIGINT else signal.Signals(stopped_by).name
        done = f"{counts['done']} of {counts['runs']} runs are done"
        say(f"stopped by {by}: {done}; to go on: --workdir={series.folder}")
        return INTERRUPTED if stopped_by == signal.SIGINT else PREEMPTED
    result = {**counts, "seconds": round(seconds, 2), "table": str(table), "folder": str(series.folder)}
    print("result:", to_json(result), flush=True)
    return FAILED if failed else 0
