"""A run's ``metrics.csv`` as a table in Python."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore.training.telemetry.metrics_log import TABLE, read_metrics
from dlcore.utils.files import user_path

HEADER = ("name", "rows", "first", "last", "smallest", "largest")


class Series(NamedTuple):
    """The values of one metric over the training.

    Attributes:
        steps: ``[N]``, the steps after which it was measured, increasing.
        values: ``[N]``, the values, float64.
    """

    steps: np.ndarray
    values: np.ndarray


class MetricsTable(Mapping[str, Series]):
    """The metrics of a run by name, such as ``table["train/loss"].values``; ``len(table)`` is the number of names.

    It prints as a table with one line for each metric.

    Args:
        rows: triples of step, name and value, as `read_metrics` returns them.

    >>> table = MetricsTable([(50, "train/loss", 0.5), (100, "train/loss", 0.25), (100, "eval/loss", 0.75)])
    >>> table["train/loss"].steps.tolist(), table["train/loss"].values.tolist()
    ([50, 100], [0.5, 0.25])
    >>> table
    name        rows  first  last  smallest  largest
    eval/loss      1   0.75  0.75      0.75     0.75
    train/loss     2    0.5  0.25      0.25      0.5
    """

    def __init__(self, rows: Sequence[tuple[int, str, float]]):
        columns: dict[str, list[tuple[int, float]]] = {}
        for step, name, value in rows:
            columns.setdefault(name, []).append((step, value))
        self._series = {name: _series(pairs) for name, pairs in sorted(columns.items())}

    @classmethod
    def read(cls, folder: str | Path) -> "MetricsTable":
        """The table of the run in a folder; it is empty if nothing was logged yet.

        Raises:
            TypeError: the folder is no path.
            ValueError: the folder does not exist, or its ``metrics.csv`` is damaged.
        """
        path = user_path("folder", folder)
        if not path.is_dir():
            raise ValueError(f"folder: got {str(path)!r}, which is none, expected the folder of a run")
        return cls(read_metrics(path / TABLE))

    def __getitem__(self, name: str) -> Series:
        return self._series[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each step and a column for each metric; NaN where there is no value.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(
            {name: pd.Series(values, steps) for name, (steps, values) in self.items()}
        ).rename_axis(index="step")

    def _lines(self) -> list[tuple[str, ...]]:
        numbers = {
            name: (values[0], values[-1], values.min(), values.max()) for name, (_, values) in self.items()
        }
        return [
            (name, str(len(self[name].steps)), *(f"{number:.4g}" for number in four))
            for name, four in numbers.items()
        ]

    def __repr__(self) -> str:
        lines = [HEADER, *self._lines()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join([name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]).rstrip()
            for name, *numbers in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{word}</th>" for word in HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>"
            for line in self._lines()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _series(pairs: Sequence[tuple[int, float]]) -> Series:
    steps, values = zip(*pairs, strict=True)
    return Series(np.array(steps, np.int64), np.array(values, np.float64))
