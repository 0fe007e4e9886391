"""A sweep's table, a row a configuration as soon as it is measured, and how long the others will take."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dlcore.utils.locks import lock_file

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
            lock_file(
                self._file,
                f"{path}: another process writes to this table; wait for its end, or choose another --run name",
            )
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


def _text(value: Any) -> str:
    number = np.asarray(value).item()
    return str(number) if isinstance(number, int) else f"{number:.6g}"
