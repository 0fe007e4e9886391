"""What the disk knows of each run of a series: its folder, its result, what it printed, and who works for it.

A run is worked for by the process that holds the lock on ``NAME.lock``. Its result ``NAME.json`` appears whole, by a
rename, while the lock is held. So a finished run is never run again, and two workers never train in one folder.

A worker that is killed loses its lock at once, and the next worker goes on from the run's checkpoints. A worker that
is stopped for a while (SIGSTOP, ``scontrol suspend``) keeps its lock: whoever is asked to do its run meanwhile waits a
little and declines, the client asks again later, and finds the result when the stopped worker has woken up and
finished. Nobody breaks a lock. That holds on a shared disk, too, if its ``flock`` holds between machines, as on NFS 4
and Lustre.

The lock's file counts the attempts that did not end, since their process died. A run that takes each of its workers
with it would otherwise do so for ever.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from dlcore.training.checkpoints.folder import saved_steps
from dlcore.utils.files import write_json
from dlcore.utils.locks import lock_file, open_lock
from dlcore.utils.run_paths import CHECKPOINTS, RUNS

LOOK_SECONDS = 0.05  # between two tries to get a lock


@dataclass(frozen=True)
class Record:
    """How a run ended.

    Attributes:
        arguments: its flags.
        seconds: how long its last attempt took.
        result: what its mode returned; None if it failed.
        error: one line; None if it is done.
    """

    arguments: list[str]
    seconds: float
    result: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class RunFiles:
    """The files of one run in the folder of a series.

    Attributes:
        series: the folder of the series.
        name: the run's name.
    """

    series: Path
    name: str

    def _path(self, ending: str) -> Path:
        return self.series / RUNS / f"{self.name}{ending}"

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self._path("")

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self._path(".log")

    def record(self) -> Record | None:
        """How the run ended; None if it did not end yet."""
        try:
            return Record(**json.loads(self._path(".json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def publish(self, record: Record) -> None:
        """Writes how the run ended; the caller holds the lock."""
        write_json(self._path(".json"), asdict(record))

    @contextlib.contextmanager
    def locked(self, seconds: float) -> Iterator["Attempts"]:
        """A context manager that holds the run's lock, and counts the attempts that it began.

        Args:
            seconds: how long to wait for the lock.

        Raises:
            BlockingIOError: somebody else still holds it.
        """
        deadline = time.monotonic() + seconds
        with open_lock(self._path(".lock")) as lock:
            while True:
                try:
                    lock_file(lock, f"{self.folder}: another process works for this run")
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise
                time.sleep(LOOK_SECONDS)
            yield Attempts(lock, self.folder)


class Attempts:
    """Counts the attempts of a run, in the file of its lock.

    Args:
        lock: the open file of the lock, which is held.
        folder: the run's folder.
    """

    def __init__(self, lock: IO[Any], folder: Path):
        self.lock, self._folder = lock, folder

    def begin(self, client: str) -> int:
        """Counts an attempt.

        Args:
            client: a word that tells the present client from earlier ones, with which workers ended, too.

        Returns:
            How many attempts before it died in a row with this client, none of which saved a further checkpoint.
        """
        self.lock.seek(0)
        before = self.lock.read().decode().split()
        step = max(saved_steps(self._folder / CHECKPOINTS), default=0)
        died = int(before[0]) if before[1:] == [client, str(step)] else 0
        self._write(f"{died + 1} {client} {step}")
        return died

    def end(self) -> None:
        """Says that the attempt ended without the death of its process."""
        self._write("")

    def _write(self, text: str) -> None:
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(text.encode())
        self.lock.flush()
