"""Where a run's numbers go: metrics.csv and TensorBoard for the machine, a bar or lines for the person."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.utils.files import atomic_write

COLUMNS = ["step", "name", "value"]


class MetricsLog:
    """A run's metrics, in ``metrics.csv`` and as TensorBoard events; a context manager.

    The table is long, one row a number (``step,name,value``), so that any metric may come at any step;
    ``pandas.read_csv(path).pivot(index="step", columns="name", values="value")`` makes it wide. It holds
    nothing of the clock: a resumed run's table equals an unstopped one's to the bit.

    Args:
        folder: the run's folder.
        step: where the run goes on from; rows of later steps, which will be written again, are dropped.
    """

    def __init__(self, folder: Path, step: int):
        self._path = folder / "metrics.csv"
        rows = [row for row in read_metrics(self._path) if row[0] <= step]
        with atomic_write(self._path) as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
        self._file = self._path.open("a", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._events = Events(folder, step)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, values: Mapping[str, float], clock: Mapping[str, float] | None = None) -> None:
        """One step's numbers, on disk when this returns; those of the ``clock`` go to TensorBoard alone."""
        self._rows.writerows([step, name, repr(value)] for name, value in values.items())
        self._file.flush()
        self._events.write(step, {**values, **(clock or {})})


class Events:
    """TensorBoard's file, written at once: tensorboardX's ``SummaryWriter`` writes in a thread, which a full disk ends,
    and then waits for it for ever.

    Args:
        folder: where the file goes.
        step: from which the run goes on; TensorBoard forgets what files before this one have of later steps.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        self._file = EventsWriter(str(folder / "events"))
        if step:
            self._put(step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._put(
            step, summary={"value": [{"tag": name, "simple_value": value} for name, value in values.items()]}
        )
        self._file.flush()

    def _put(self, step: int, **content: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=step, **content))

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[tuple[int, str, float]]:
    """The rows (step, name, value) of a ``metrics.csv``; none where there is no file.

    A last row that a killed process left incomplete is passed over; ValueError for a damaged one before it.
    """
    if not path.exists():
        return []
    if not path.is_file():
        raise ValueError(f"{path}: got a folder, expected the table of the run's metrics; move it elsewhere")
    try:
        text = path.read_text()
        rows = list(csv.reader(text.splitlines()))[1:]
        whole = rows if text.endswith("\n") else rows[:-1]
        return [(int(step), name, float(value)) for step, name, value in whole]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: got a row that is no step,name,value ({error}); mend the file, or move it elsewhere"
        ) from None
