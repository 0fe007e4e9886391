"""What a run's folder tells without JAX: whether the run is finished or trains now, its step, and its job."""

import csv
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcore.utils.files import write_json
from dlcore.utils.locks import is_locked
from dlcore.utils.run_paths import CHECKPOINTS, CONFIG, EVENTS, LAUNCH, LOCK, RESULT, TABLE

JOB = "slurm.json"
TAIL_BYTES = 2**16
EVENTS_FOR_SPEED = 20
LOSS = "train/loss"


@dataclass(frozen=True)
class RunState:
    """The state of a run by its folder.

    Attributes:
        folder: the folder.
        finished: True if the last step is done and its result is written.
        trains: True if a process on this machine, or on one that shares locks with it, trains in the folder.
        step: the newest step of which a number was logged; 0 without one.
        steps: the run's length as its config has it, a number or a duration; None if there is no config yet.
        loss: the newest training loss; None without one.
        speed: steps a second by the newest logged steps; None if too few were logged.
    """

    folder: Path
    finished: bool
    trains: bool
    step: int
    steps: int | str | None
    loss: float | None
    speed: float | None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at the present speed; None if that is not known."""
        if not self.speed or not isinstance(self.steps, int):
            return None
        return max(self.steps - self.step, 0) / self.speed


def read_state(folder: Path) -> RunState:
    """The state of the run in a folder. What is missing or damaged counts as absent.

    Args:
        folder: the run's folder.
    """
    steps = _read_json(folder / CONFIG).get("train", {}).get("steps")
    step, loss = _newest_row(folder / TABLE)
    finished = is_finished(folder)
    speed = None if finished else _speed(folder)
    return RunState(folder, finished, is_locked(folder / LOCK), step, steps, loss, speed)


def is_finished(folder: Path) -> bool:
    """True if ``result.json`` is that of the run's last step: of its newest checkpoint, and of its last or stopped one.

    Checkpoints that are elsewhere are not looked at.

    Args:
        folder: the run's folder.
    """
    result, config = _read_json(folder / RESULT), _read_json(folder / CONFIG)
    steps, length = result.get("steps"), config.get("train", {}).get("steps")
    if not isinstance(steps, int) or (
        isinstance(length, int) and length != steps and not result.get("stopped")
    ):
        return False
    if config.get("checkpoint", {}).get("folder"):
        return True
    saved = [int(path.name) for path in (folder / CHECKPOINTS).glob("*") if path.name.isdecimal()]
    return max(saved, default=None) == steps


def write_job(folder: Path, job: str, log: Path) -> None:
    """Writes which job of Slurm trains the run into its folder.

    Args:
        folder: the run's folder.
        job: the number of the job.
        log: the file in which the job's output is.
    """
    (folder / LAUNCH).mkdir(parents=True, exist_ok=True)
    write_json(folder / LAUNCH / JOB, {"job": job, "log": str(log)})


def read_job(folder: Path) -> str | None:
    """The number of the newest Slurm job of the run in a folder; None if it has none."""
    job = _read_json(folder / LAUNCH / JOB).get("job")
    return job if isinstance(job, str) else None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _newest_row(path: Path) -> tuple[int, float | None]:
    """The newest step and training loss at the end of a table of metrics, whose last line may be half written."""
    step, loss = 0, None
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            lines = file.read().decode(errors="replace").split("\n")[1:-1]
    except OSError:
        return step, loss
    for row in csv.reader(lines):
        if len(row) == 3 and row[0].isdecimal():
            step = int(row[0])
            loss = float(row[2]) if row[1] == LOSS else loss
    return step, loss


def _speed(folder: Path) -> float | None:
    """Steps a second over the newest events of TensorBoard's newest file; None without two of them."""
    try:
        newest = max(folder.glob(f"{EVENTS}.*"), key=lambda path: path.stat().st_mtime)
        times = [event for event in _read_times(newest.read_bytes()) if event[1]][-EVENTS_FOR_SPEED:]
    except (OSError, ValueError):
        return None
    if not times:
        return None
    (first_time, first), (last_time, last) = times[0], times[-1]
    return (last - first) / (last_time - first_time) if last > first and last_time > first_time else None


def _read_times(content: bytes) -> Iterator[tuple[float, int]]:
    """The time and step of each event in a file of TensorBoard; a half-written last one is left out.

    An event begins with its time, a double, and its step, in groups of 7 bits. The package that reads whole events
    takes seconds to import.
    """
    place = 0
    while place + 12 < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        event = content[place + 12 : place + 12 + length]
        place += length + 16
        if place <= len(content) and event[:1] == b"\x09" and event[9:10] == b"\x10":
            yield struct.unpack_from("<d", event, 1)[0], _read_varint(event[10:])


def _read_varint(content: bytes) -> int:
    number = 0
    for index, byte in enumerate(content):
        number |= (byte & 127) << (7 * index)
        if byte < 128:
            break
    return number
