"""A run's numbers as a table, ``metrics.csv``."""

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.utils.files import atomic_write
from dlcore.utils.run_paths import TABLE
from dlcore.utils.streams import say

COLUMNS = ["step", "name", "value"]


class MetricsLog(Callback):
    """Writes a run's numbers to ``metrics.csv``.

    The table is long: each row has one number (``step,name,value``), so any metric may come at any step;
    ``pandas.read_csv(path).pivot(index="step", columns="name", values="value")`` makes it wide. It contains no times,
    so the table of a resumed run equals that of an uninterrupted one to the bit.

    Args:
        every: the number of steps between two rows by the beginning of their names, for instance ``{"train/": 50}``.
            A line on stderr says which earlier rows are missing. None: any may be missing.
    """

    def __init__(self, every: Mapping[str, int] | None = None):
        self._every = every or {}

    def on_start(self, start: Start) -> None:
        """Opens the table. Rows after the step from which the run goes on are dropped: they will be written again."""
        path = start.folder / TABLE
        rows = [row for row in read_metrics(path) if row[0] <= start.step]
        for gap in _gaps(rows, start.step, self._every):
            say(f"{path}: {gap} are missing; the table goes on without them")
        with atomic_write(path) as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
        self._file = path.open("a", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Writes the numbers of one step, without the clock's; they are in the file when this returns."""
        self._rows.writerows([step, name, repr(value)] for name, value in values.items())
        self._file.flush()

    def on_end(self, error: BaseException | None) -> None:
        """Closes the table."""
        self._file.close()


def read_metrics(path: Path) -> list[tuple[int, str, float]]:
    """Reads a ``metrics.csv``: a list of rows (step, name, value), which is empty if the file does not exist.

    An incomplete last row, which a killed process left, is skipped.

    Args:
        path: the file.

    Raises:
        ValueError: another row is damaged, or the path is a folder.
    """
    if not path.exists():
        return []
    if not path.is_file():
        raise ValueError(f"{path}: got a folder, expected the table of the run's metrics; move it elsewhere")
    try:
        text = path.read_text()
        header, *rows = csv.reader(text.splitlines()) if text else [COLUMNS]
        whole = rows if text.endswith("\n") else rows[:-1]
        if header != COLUMNS:
            raise ValueError(f"the first is {','.join(header)[:80]!r}")
        if any("\0" in name for _, name, _ in whole):
            raise ValueError("a name contains NUL")
        return [(int(step), name, float(value)) for step, name, value in whole]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: got a row that is no step,name,value ({error}); mend the file, or move it elsewhere"
        ) from None


def _gaps(rows: Sequence[tuple[int, str, float]], step: int, every: Mapping[str, int]) -> Iterator[str]:
    """Yields a text about the first rows of each kind that are missing up to a step.

    >>> list(_gaps([(50, "train/loss", 1.0), (200, "train/loss", 0.5)], 200, {"train/": 50}))
    ['rows train/... of steps 51 to 199']
    """
    for name, steps in every.items():
        there = sorted({row for row, found, _ in rows if found.startswith(name)})
        for before, after in itertools.pairwise([0, *there, (step // steps + 1) * steps]):
            if after - before > steps:
                yield f"rows {name}... of steps {before + 1} to {min(after - 1, step)}"
                break
