"""A sweep's table on the disk: a row for each configuration, written as soon as it is measured."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dlcore.utils.checks import check_instance, shown
from dlcore.utils.locks import lock_file

Row: TypeAlias = dict[str, str]
"""A row's texts by column."""


class Table:
    """The rows of a CSV file, looked up by their settings: ``table[configuration]``, ``configuration in table``.

    It is a context manager. From its construction until the context ends, the table cannot be opened a second time.

    If a killed process left the last row incomplete, the row is dropped, and its configuration is measured again.

    Args:
        path: the file. It is made if it is missing.
        settings: the columns that identify a row.
        measures: the other columns.

    Raises:
        ValueError: the path is that of a folder, a column appears twice, the file has other columns, or a complete row
            has another number of texts than columns.
        TypeError: path is no path, or the columns are not sequences of texts.
        BlockingIOError: the table is open elsewhere, in another process or in this one.
    """

    def __init__(self, path: Path, settings: Sequence[str], measures: Sequence[str]):
        check_instance("path", path, (str, Path), "the path of a CSV file")
        for name, columns in (("settings", settings), ("measures", measures)):
            _check_columns(name, columns)
        _check_distinct(settings, measures)
        path = Path(path)
        if path.is_dir():
            raise ValueError(f"path: got the folder {path}, expected the path of a CSV file")
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

    def __contains__(self, configuration: Mapping[str, str]) -> bool:
        return self._key(configuration) in self._rows

    def __getitem__(self, configuration: Mapping[str, str]) -> Row:
        return self._rows[self._key(configuration)]

    def append(self, configurations: Sequence[Mapping[str, str]], measured: Mapping[str, np.ndarray]) -> None:
        """Adds one row for each configuration. They are in the file when the call returns.

        Args:
            configurations: the settings of each row, texts by column. A setting that is missing is an empty text.
            measured: the measures by name, arrays ``[N]``. If N is larger than the number of rows, the first ones
                count.
        """
        for index, configuration in enumerate(configurations):
            measures = {name: _text(values[index]) for name, values in measured.items()}
            row = {**dict.fromkeys(self._settings, ""), **configuration, **measures}
            self._writer.writerow(row)
            self._rows[self._key(row)] = row
        self._file.flush()

    def _key(self, row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(row.get(name, "") for name in self._settings)

    def _read(self) -> list[Row]:
        """The complete rows of the file, which is cut after the last of them."""
        self._file.seek(0)
        text, header = self._file.read(), ",".join(self._columns) + "\n"
        if not text.startswith(header) and not header.startswith(text):
            raise self._error("columns", text.partition("\n")[0])
        complete = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(complete.splitlines()[1:]))
        for row in rows:
            if len(row) != len(self._columns):
                raise self._error("row", ",".join(row))
        self._file.truncate(len(complete.encode()))
        self._file.seek(0, 2)
        return [dict(zip(self._columns, row, strict=True)) for row in rows]

    def _error(self, what: str, found: str) -> ValueError:
        return ValueError(
            f"{self._path}: got the {what} {found}, expected {','.join(self._columns)}; move the file elsewhere, or "
            "choose another --run name"
        )


def _text(value: Any) -> str:
    """An integer in full, a float with six digits."""
    number = np.asarray(value).item()
    return str(number) if isinstance(number, int) else f"{number:.6g}"


def _check_distinct(settings: Sequence[str], measures: Sequence[str]) -> None:
    for name, count in Counter([*settings, *measures]).items():
        if count > 1:
            raise ValueError(f"settings, measures: got the column {name} {count} times, expected it once")


def _check_columns(name: str, columns: Any) -> None:
    known = isinstance(columns, Sequence) and not isinstance(columns, str)
    if not known or not all(isinstance(column, str) for column in columns):
        raise TypeError(f"{name}: got {shown(columns)}, expected a sequence of column names")
