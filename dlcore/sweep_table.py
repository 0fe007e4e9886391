"""A sweep's table, a row a configuration as soon as it is measured, and how long the others will take."""

import csv
import fcntl
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich import progress as bars
from rich.console import Console

Row: TypeAlias = dict[str, str]


class Table:
    """Rows of a CSV file by the settings that tell them apart; a context manager that no other process has meanwhile.

    A last row that a killed process left incomplete is dropped, and measured again.

    Args:
        path: the file, made where there is none.
        settings, measures: its columns.

    Raises:
        ValueError: the file has other columns, or a row is damaged. BlockingIOError: another process has it.
    """

    def __init__(self, path: Path, settings: Sequence[str], measures: Sequence[str]):
        self._path, self._settings, self._columns = path, tuple(settings), [*settings, *measures]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+", newline="")
        try:
            self._lock()
            self._rows = {self._key(row): row for row in self._read()}
        except BaseException:
            self._file.close()
            raise
        self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
        if not self._file.tell():
            self._writer.writeheader()

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __contains__(self, point: Mapping[str, str]) -> bool:
        return self._key(point) in self._rows

    def __getitem__(self, point: Mapping[str, str]) -> Row:
        return self._rows[self._key(point)]

    def append(self, points: Sequence[Mapping[str, str]], measured: Mapping[str, np.ndarray]) -> None:
        """Rows of these settings and measures ``[N]``, of which the first ones count; on the disk when it returns."""
        for number, point in enumerate(points):
            measures = {name: _text(values[number]) for name, values in measured.items()}
            row = {**dict.fromkeys(self._settings, ""), **point, **measures}
            self._writer.writerow(row)
            self._rows[self._key(row)] = row
        self._file.flush()

    def _key(self, point: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(point.get(name, "") for name in self._settings)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise BlockingIOError(
                f"{self._path}: another process writes to this table; wait for its end, or choose another --run name"
            ) from None

    def _read(self) -> list[Row]:
        self._file.seek(0)
        text, header = self._file.read(), ",".join(self._columns) + "\n"
        if not text.startswith(header) and not header.startswith(text):
            raise self._error("columns", text.partition("\n")[0])
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(whole.splitlines()[1:]))
        for row in rows:
            if len(row) != len(self._columns):
                raise self._error("row", ",".join(row))
        self._file.truncate(len(whole.encode()))
        self._file.seek(0, 2)
        return [dict(zip(self._columns, row, strict=True)) for row in rows]

    def _error(self, what: str, found: str) -> ValueError:
        return ValueError(
            f"{self._path}: got the {what} {found}, expected {','.join(self._columns)}; move the file elsewhere, or "
            "choose another --run name"
        )


class Progress:
    """How far a sweep is: a rich bar on a terminal, plain lines elsewhere; on stderr, a context manager.

    Args:
        points: all that is wanted. table: what there is of them already.
    """

    def __init__(self, points: Sequence[Mapping[str, str]], table: Table):
        self._first = self._done = sum(point in table for point in points)
        self._total, self._began = len(points), time.monotonic()
        self._bar = bars.Progress(
            bars.TextColumn("sweep"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[last]}"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("left"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("sweep", total=self._total, completed=self._done, last="compiling")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def advance(self, configurations: int, settings: Mapping[str, Any]) -> None:
        """Says that so many more are measured, of these settings."""
        self._done += configurations
        last = "  ".join(f"{name} {value}" for name, value in settings.items())
        self._bar.update(self._task, advance=configurations, last=last)
        if self._bar.disable:
            each = (time.monotonic() - self._began) / (self._done - self._first)
            left = each * (self._total - self._done)
            line = f"configuration {self._done}/{self._total}  {last}  {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)


def _text(value: Any) -> str:
    number = np.asarray(value).item()
    return str(number) if isinstance(number, int) else f"{number:.6g}"
