"""The table of a series: a row for each run that has ended, with what tells it apart from the others and its result."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcore.config.settings import leaves
from dlcore.launch.series.plan import PlannedRun, Series, canonical_text
from dlcore.launch.series.record import Record
from dlcore.utils.files import atomic_write

TABLE = "runs.csv"
DONE, FAILED = "done", "failed"


def write_table(series: Series, records: Mapping[str, Record]) -> Path:
    """Writes the table into the series' folder, and returns its path.

    The columns are ``run``, the run's name, which its folder and its log have, too; the settings in which the runs
    differ; ``state``, which is ``done`` or ``failed``; the numbers and texts of the results; ``seconds`` of the run's
    last attempt; and ``error``. The rows have the order of the file of runs.

    Args:
        series: the series.
        records: how the runs ended, by name. A run without a record has no row.
    """
    ended = [(run, records[run.name]) for run in series.runs if run.name in records]
    settings = _differing(series.runs)
    rows = [
        {
            "run": run.name,
            **settings[run.name],
            "state": DONE if record.error is None else FAILED,
            **_values(record),
            "seconds": record.seconds,
            "error": record.error,
        }
        for run, record in ended
    ]
    measures = _ordered(name for _, record in ended for name in _values(record))
    columns = ["run", *settings[series.runs[0].name], "state", *measures, "seconds", "error"]
    path = series.folder / TABLE
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _differing(runs: Sequence[PlannedRun]) -> dict[str, dict[str, str]]:
    """The text of each setting in which the runs differ, by the run's name and by the setting's path."""
    texts = {run.name: {leaf.path: canonical_text(leaf) for leaf in leaves(run.config)} for run in runs}
    first = texts[runs[0].name]
    paths = [path for path in first if any(known[path] != first[path] for known in texts.values())]
    return {name: {path: known[path] for path in paths} for name, known in texts.items()}


def _values(record: Record) -> dict[str, Any]:
    """The numbers and texts of a result by name, without the seconds of the training, which the run's contain."""
    result = record.result or {}
    return {
        name: value
        for name, value in result.items()
        if name != "seconds" and not isinstance(value, dict | list)
    }


def _ordered(names: Iterable[str]) -> list[str]:
    """The names without repetitions, in the order of their first appearance."""
    return list(dict.fromkeys(names))
