"""Runs commands of experiments, several at a time, each in a folder in which it goes on after an interruption."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from benchmarks.entry import Entry
from dlcore.utils.processes import bound_to_this_process

SAY_SECONDS = 60
STEP = re.compile(r"^step (\d+)/(\d+) ", flags=re.MULTILINE)


class Task(NamedTuple):
    """A run: an entry's command with a seed."""

    entry: Entry
    seed: int


class RunError(Exception):
    """A run ended with an error."""


class Queue:
    """Runs tasks in their order.

    Args:
        folder: has the runs' folders and their logs.
        tasks: the runs.
        jobs: how many run at a time; of several, each has one core.
        known: seconds of earlier runs by the entry's name, for the estimate of the time left.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task], jobs: int, known: Mapping[str, float]):
        self.folder, self.tasks, self.jobs = folder, tasks, jobs
        self.seconds, self.began, self.done = dict(known), dict[Task, float](), 0
        self._cores: SimpleQueue[int] = SimpleQueue()
        for core in range(jobs):
            self._cores.put(core)

    def run(self) -> Iterator[tuple[Task, Mapping[str, Any] | RunError]]:
        """Yields each task with its result as soon as it is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self.jobs) as threads:
            started: dict[Future[Mapping[str, Any]], Task] = {
                threads.submit(self._run, task): task for task in self.tasks
            }
            try:
                while started:
                    done, _ = wait(started, SAY_SECONDS, FIRST_COMPLETED)
                    for future in done:
                        task, error = started.pop(future), future.exception()
                        self.done += 1
                        if error is not None and not isinstance(error, RunError):
                            raise error
                        yield task, error if isinstance(error, RunError) else future.result()
                    print(self.status(), file=sys.stderr, flush=True)
            finally:
                threads.shutdown(cancel_futures=True)

    def _run(self, task: Task) -> Mapping[str, Any]:
        core = self._cores.get()
        try:
            self.began[task] = time.monotonic()
            result = run(task, self.folder, core if self.jobs > 1 else None)
            self.seconds[task.entry.name] = time.monotonic() - self.began[task]
            return result
        finally:
            del self.began[task]
            self._cores.put(core)

    def status(self) -> str:
        """How many tasks are done, how far the others are, and about how long the rest takes."""
        began = dict(self.began)  # a run that ends meanwhile leaves it
        running = {task: self._part(task) for task in began}
        shown = [f"{task.entry.name} {task.seed}: {part:.0%}" for task, part in running.items()]
        return "; ".join([f"{self.done} of {len(self.tasks)} runs done", *shown, self._left(running, began)])

    def _part(self, task: Task) -> float:
        """The part of its steps that a run has done."""
        with contextlib.suppress(FileNotFoundError):
            steps = STEP.findall(log_of(self.folder, task).read_text(errors="replace"))
            if steps:
                return int(steps[-1][0]) / int(steps[-1][1])
        return 0.0

    def _left(self, running: Mapping[Task, float], began: Mapping[Task, float]) -> str:
        """The time left as text. A run that nothing is known of counts as the mean of the others."""
        guesses = dict(self.seconds)
        now = time.monotonic()
        for task, part in running.items():
            if part > 0.02:
                guesses[task.entry.name] = (now - began[task]) / part
        known = [guesses[task.entry.name] for task in self.tasks if task.entry.name in guesses]
        if not known:
            return "the time left is not known yet"
        mean = sum(known) / len(known)
        waiting = self.tasks[self.done + len(running) :]
        seconds = sum(guesses.get(task.entry.name, mean) for task in waiting)
        seconds += sum(
            guesses.get(task.entry.name, mean) * (1 - part) for task, part in running.items() if part < 1
        )
        return f"about {seconds / self.jobs / 60:.0f} min left"


def folder_of(folder: Path, task: Task) -> Path:
    """The folder of a run; another command has another one, so that their runs never mix."""
    command = zlib.crc32(task.entry.command.encode())
    return folder / f"{task.entry.name}-{task.seed}-{command:08x}"


def log_of(folder: Path, task: Task) -> Path:
    return folder_of(folder, task).with_suffix(".log")


def run(task: Task, folder: Path, core: int | None = None) -> dict[str, Any]:
    """The result of a run, which goes on if it was interrupted.

    Args:
        task: the run.
        folder: where its folder and its log are.
        core: the core that it may use; None: all.

    Raises:
        RunError: it ended with an error.
    """
    flags = [f"--config.seed={task.seed}", f"--workdir={folder_of(folder, task)}"]
    command = [sys.executable, *task.entry.command.split()[1:], *flags]
    with log_of(folder, task).open("w") as log:
        process = subprocess.Popen(
            bound_to_this_process(command), stdout=subprocess.PIPE, stderr=log, text=True
        )
        if core is not None and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # a machine with fewer cores, or a process that has ended
                os.sched_setaffinity(process.pid, {core})
        output, _ = process.communicate()
    if process.returncode:
        errors = log_of(folder, task).read_text(errors="replace").splitlines()[-5:]
        raise RunError(
            f"{task.entry.command} --config.seed={task.seed} ended with {process.returncode}:\n"
            + "\n".join(errors)
        )
    return json.loads(output.splitlines()[-1].removeprefix("result: "))
