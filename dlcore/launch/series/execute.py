"""Does the runs of a series on a Dask cluster, until each of them has ended."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dlcore.launch.series.clusters import Cluster, ClusterError
from dlcore.launch.series.plan import PlannedRun, Series
from dlcore.launch.series.record import Record, RunFiles
from dlcore.launch.series.work import Task, work
from dlcore.utils.progress import Progress

if TYPE_CHECKING:
    from distributed import Client, Future

GONE = "the scheduler is gone; the same command goes on"
LOOK_SECONDS = 0.02  # the workers do not wait for it: the scheduler has all runs
ADJUST_SECONDS = 1.0
REPORT_SECONDS = 5.0


def read_records(series: Series) -> dict[str, Record]:
    """How the runs of a series ended, by name; a run that did not end is left out."""
    found = ((run.name, RunFiles(series.folder, run.name).record()) for run in series.runs)
    return {name: record for name, record in found if record is not None}


def missing_runs(series: Series, records: dict[str, Record]) -> list[PlannedRun]:
    """The runs that are not done: those without a record, and those that failed."""
    return [run for run in series.runs if run.name not in records or records[run.name].error is not None]


def execute(cluster: Cluster, series: Series, records: dict[str, Record], *, isolate: bool) -> None:
    """Does all runs of a series that are not done yet.

    Args:
        cluster: the cluster.
        series: the runs.
        records: how runs of the series ended before, by name; gets those of the others as soon as they end.
        isolate: True if each run has a process of its own.

    Raises:
        ClusterError: the scheduler is gone.
    """
    try:
        _execute(cluster, series, records, isolate)
    except OSError as error:  # of Dask, whose connection is closed
        raise ClusterError(GONE) from error


def _execute(cluster: Cluster, series: Series, records: dict[str, Record], isolate: bool) -> None:
    questions = _Questions(cluster.client, series, isolate)
    missing = missing_runs(series, records)
    questions.ask(missing)
    total, failed = len(series.runs), 0
    adjust, report = _Clock(ADJUST_SECONDS), _Clock(REPORT_SECONDS)
    with Progress("runs", "run", total, total - len(missing)) as progress:
        progress.advance(0)  # starts the clock
        while questions.remaining:
            for name, record in questions.answers():
                records[name] = record
                failed += record.error is not None
                progress.advance()
            if adjust.is_due():
                cluster.adjust(questions.remaining)
            if report.is_due():
                workers = len(cluster.client.nthreads())
                progress.report({"failed": str(failed), "workers": str(workers)})
            time.sleep(LOOK_SECONDS)


class _Questions:
    """Asks workers for runs, and again for those that another process works for at the moment.

    Args:
        client: the client of the cluster.
        series: the series of the runs.
        isolate: True if each run has a process of its own.
    """

    def __init__(self, client: "Client", series: Series, isolate: bool):
        from distributed import as_completed

        self._client, self._series, self._isolate = client, series, isolate
        self._asked: dict[object, tuple[PlannedRun, int]] = {}
        self._futures = as_completed(loop=client.loop, with_results=True, raise_errors=False)

    @property
    def remaining(self) -> int:
        """The number of runs that did not end yet."""
        return len(self._asked)

    def ask(self, runs: Iterable[PlannedRun], attempt: int = 0) -> None:
        """Asks for runs; a further attempt comes after all other runs."""
        self._futures.update([self._submit(run, attempt) for run in runs])

    def _submit(self, run: PlannedRun, attempt: int) -> "Future":
        series, key = self._series, f"run-{run.name}-{attempt}"
        task = Task(
            series.module,
            series.mode,
            run.arguments,
            run.name,
            str(series.folder),
            self._client.id,
            self._isolate,
        )
        self._asked[key] = run, attempt
        return self._client.submit(work, task, key=key, pure=False, priority=-attempt)

    def answers(self) -> Iterator[tuple[str, Record]]:
        """The name of each run that has ended since the last call, and how it ended.

        Raises:
            ClusterError: the scheduler is gone.
        """
        for future, answer in self._futures.next_batch(block=False):
            run, attempt = self._asked.pop(future.key)
            if future.status == "error":  # the worker could not even write how the run ended
                yield run.name, Record(list(run.arguments), 0.0, error=_one_line(answer[1]))
            elif future.status != "finished":
                raise ClusterError(GONE)
            elif answer is None:
                self.ask([run], attempt + 1)
            else:
                yield run.name, answer


class _Clock:
    """Says when something is due again."""

    def __init__(self, seconds: float):
        self._seconds, self._last = seconds, time.monotonic()

    def is_due(self) -> bool:
        """True if it was so for the last time these seconds ago."""
        due = time.monotonic() - self._last > self._seconds
        if due:
            self._last = time.monotonic()
        return due


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
