"""Dask workers as Slurm jobs, for many runs: arrays of jobs with one worker each, and the scheduler in this process.

Workers come as Slurm gives them nodes. A worker whose node is taken away, or whose time is over, is queued again as any
job of launch/slurm, and those that are lost for good are replaced.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from dlcore.launch.command import Command
from dlcore.launch.launcher import FlagRow, check_at_least
from dlcore.launch.series.clusters import Cluster, ClusterError, connected, dashboard_address, prepare_dask
from dlcore.launch.series.scheduler import scheduler_file, served_scheduler
from dlcore.launch.slurm_job import SlurmJob
from dlcore.launch.slurm_queue import cancel, read_states, submit
from dlcore.launch.slurm_script import render_script
from dlcore.utils.files import atomic_write, write_json
from dlcore.utils.run_paths import LAUNCH
from dlcore.utils.streams import say

if TYPE_CHECKING:
    from distributed import Client

WORKER = "dlcore.launch.series.worker"
JOBS, SCRIPT = "jobs.json", "workers.sh"
LOOK_SECONDS = 10.0
MOST_LOST = 20  # for each worker; more mean that workers cannot start

ROWS: list[FlagRow] = [
    (flags.DEFINE_integer, "workers", None, "Number of workers for --runs."),
    (flags.DEFINE_boolean, "adaptive", True, "Let workers go as soon as there is no run left for them."),
    (flags.DEFINE_string, "host", None, "Name or address under which workers reach this machine."),
]


def check_workers(job: SlurmJob, workers: int | None) -> int:
    """The number of workers.

    Raises:
        ValueError: there is none, or the job has more than one process.
    """
    count = check_at_least("--workers", workers, 1)
    for name in ("nodes", "tasks_per_node"):
        if getattr(job, name) != 1:
            raise ValueError(
                f"--{name}: got {getattr(job, name)} with --runs, expected 1: a worker is one process"
            )
    return count


def render_workers(job: SlurmJob, series: Path, indices: range) -> str:
    """The batch script of an array of workers.

    Args:
        job: what each worker asks for.
        series: the folder of the runs.
        indices: the indices of the array.
    """
    command = Command(WORKER, (f"--scheduler={scheduler_file(series)}",), series)
    return render_script(
        job,
        command,
        {index: [] for index in indices},
        parallel=None,
        project=Path.cwd(),
        python_path=os.environ.get("PYTHONPATH", ""),
    )


@contextlib.contextmanager
def slurm_cluster(
    job: SlurmJob, workers: int, series: Path, *, adaptive: bool, host: str | None
) -> Iterator[Cluster]:
    """A context manager that starts a scheduler in this process and queues its workers; at its end none is left.

    Args:
        job: what each worker asks for.
        workers: the number of workers.
        series: the folder of the runs, on a disk that all nodes share.
        adaptive: True if workers go as soon as there is no run left for them.
        host: the name or address of this machine; None: Dask's choice.

    Raises:
        ValueError: Slurm does not take the jobs.
        ClusterError: the workers end again and again.
    """
    prepare_dask()
    file = scheduler_file(series)
    queue = WorkerQueue(
        file.with_name(JOBS), series / LAUNCH, lambda indices: render_workers(job, series, indices)
    )
    queue.cancel()  # the workers of a client that was killed
    with contextlib.ExitStack() as stack:
        stack.callback(queue.cancel)
        scheduler = stack.enter_context(served_scheduler(file, host, dashboard_address()))
        client = stack.enter_context(connected(scheduler))
        queue.add(workers)
        yield SlurmWorkers(client, queue, workers, adaptive)


class WorkerQueue:
    """The workers of a series in Slurm's queue.

    Args:
        file: the file that knows the numbers of their jobs, also after this process.
        folder: the folder in which they start, and into which they log.
        render: the script of an array with these indices.
    """

    def __init__(self, file: Path, folder: Path, render: Callable[[range], str]):
        self._file, self._folder, self._render = file, folder, render
        self._jobs: list[str] = json.loads(file.read_text())["jobs"] if file.exists() else []
        self.submitted = 0

    def add(self, workers: int) -> None:
        """Queues more workers, and prints their job."""
        self._folder.mkdir(parents=True, exist_ok=True)
        script = self._render(range(self.submitted, self.submitted + workers))
        self._jobs.append(submit(script, self._folder))
        with atomic_write(self._folder / SCRIPT) as file:
            file.buffer.write(os.fsencode(script))
        self.submitted += workers
        write_json(self._file, {"jobs": self._jobs})
        say(f"job {self._jobs[-1]}: {workers} workers; logs: {self._folder}")

    def alive(self) -> int:
        """The number of workers that wait or run."""
        return sum(state.is_alive for state in read_states(self._jobs).values())

    def cancel(self) -> None:
        """Takes all workers out of the queue, also those that run."""
        cancel(self._jobs)
        self._jobs = []
        self._file.unlink(missing_ok=True)


class SlurmWorkers:
    """The workers of `slurm_cluster`.

    Args:
        client: the client of the scheduler.
        queue: the workers in Slurm's queue.
        workers: how many there should be.
        adaptive: True if workers go as soon as there is no run left for them.
    """

    def __init__(self, client: "Client", queue: WorkerQueue, workers: int, adaptive: bool):
        self.client, self._queue, self._workers, self._adaptive = client, queue, workers, adaptive
        self._looked, self._trouble = time.monotonic(), ""

    def adjust(self, remaining: int) -> None:
        """Replaces workers that are lost, and lets those go for which there is no run.

        What Slurm refuses, or does not answer, is asked again later.

        Args:
            remaining: the number of runs that have not ended yet.

        Raises:
            ClusterError: too many are lost.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        trouble = ""
        try:
            self._replace(min(self._workers, remaining))
        except ValueError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            say(f"{trouble}; it is tried again")
        self._trouble = trouble
        if self._adaptive:
            self._let_go(remaining)

    def _replace(self, wanted: int) -> None:
        lost = wanted - self._queue.alive()
        if lost > 0:
            if self._queue.submitted > MOST_LOST * self._workers:
                raise ClusterError("workers end again and again; their logs tell why")
            self._queue.add(lost)

    def _let_go(self, remaining: int) -> None:
        doing = self.client.processing()
        idle = [address for address, keys in doing.items() if not keys]
        surplus = idle[: max(len(doing) - remaining, 0)]
        if surplus:
            self.client.retire_workers(surplus)
