"""Where a run's numbers go: metrics.csv and TensorBoard for the machine, a bar or lines for the person."""

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dlcore.files import written_whole

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
        with written_whole(self._path) as file:
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


class ProgressReport:
    """How far a run is: a rich bar on a terminal, plain lines elsewhere; on stderr, a context manager.

    Args:
        step: where the run goes on from.
        steps: where it ends.
    """

    def __init__(self, step: int, steps: int):
        self._first, self._steps = step, steps
        self._began: float | None = None  # when the first call was on its way: compiled before
        self._values: dict[str, float] = {}
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("training", total=steps, completed=step, values="compiling")

    def __enter__(self) -> "ProgressReport":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        self._began = self._began or time.monotonic()
        self._bar.advance(self._task, steps)

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Says some numbers: in the bar beside the others' last values, or in a line of their own."""
        self._values.update(values)
        self._bar.update(self._task, values=_text(self._values))
        if self._bar.disable:
            now = time.monotonic()
            seconds = (now - (self._began or now)) * (self._steps - step) / max(step - self._first, 1)
            line = f"step {step}/{self._steps}  {_text(values)}  {seconds:.0f} s left"
            print(line, file=sys.stderr, flush=True)


def _text(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
