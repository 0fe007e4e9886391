"""What the experiments reach: runs their commands with the seeds 0, 1, 2 and writes the table of the documentation.

    python -m benchmarks.results                   # all rows, many hours on 2 CPU cores
    python -m benchmarks.results vowels 'pixels*'  # the row vowels, and the rows whose names begin with pixels
    python -m benchmarks.results --jobs=2          # two runs at a time, each on one core
    python -m benchmarks.results --missing         # the rows without numbers alone
    python -m benchmarks.results video --seeds=1   # the first seed alone
    python -m benchmarks.results --list            # the rows and their commands; runs nothing

Each run is a process of its own. Its folder is kept in ``build/results`` until its row is done, so that the same
command goes on after an interruption; the run's log is beside it. A line a minute says what is done, and how long the
rest takes. A row is written to ``docs/results.csv`` when its runs are done, and its figure to ``docs/figures``; the
other rows stay as they are.
"""

import csv
import fnmatch
import shutil
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dlcore as dl
from benchmarks.entries import ENTRIES
from benchmarks.entry import Entry, word
from benchmarks.run_queue import Queue, RunError, Task, folder_of
from dlcore.utils.files import atomic_write

DOCS = Path(__file__).parent.parent / "docs"
TABLE, FIGURES, FOLDER = DOCS / "results.csv", DOCS / "figures", DOCS.parent / "build" / "results"
MEASURED = ("median", "lowest", "highest", "seconds", "seeds", "version")
COLUMNS = (
    *("name", "command", "metric", "median", "lowest", "highest"),
    *("seconds", "seeds", "baseline", "version"),
)


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser("benchmarks.results", description="Runs experiments and writes docs/results.csv.")
    parser.add_argument("names", nargs="*", help="names of rows, or patterns such as pixels*; none: all rows")
    parser.add_argument("--list", action="store_true", help="print the rows and their commands")
    parser.add_argument("--missing", action="store_true", help="only rows without numbers")
    parser.add_argument("--seeds", type=int, help="how many of a row's seeds to run; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; of several, each has one core")
    given = parser.parse_args(arguments)
    if given.seeds is not None and given.seeds < 1:
        parser.error(f"--seeds: got {given.seeds}, expected at least 1")
    chosen = choose(given.names, missing=given.missing)
    if given.list:
        print(*(f"{entry.name:24} {entry.command}" for entry in chosen), sep="\n")
        return
    write_rows(TABLE, {})
    Series([entry._replace(seeds=entry.seeds[: given.seeds]) for entry in chosen], given.jobs).run()


def choose(names: Sequence[str], missing: bool = False) -> list[Entry]:
    """The entries whose names match one of these patterns; with ``missing`` only those without numbers."""
    known, matched = [entry.name for entry in ENTRIES], set[str]()
    for pattern in names or ("*",):
        found = fnmatch.filter(known, pattern)
        if not found:
            sys.exit(f"error: {pattern} names no row; --list shows them")
        matched.update(found)
    chosen = [entry for entry in ENTRIES if entry.name in matched]
    measured = {row["name"] for row in read_rows(TABLE) if row["median"]}
    return [entry for entry in chosen if not missing or not measured.issuperset(entry.rows)]


class Series:
    """The runs of some entries; a row is written as soon as all of its runs are done."""

    def __init__(self, entries: Sequence[Entry], jobs: int):
        self.results: dict[str, dict[int, Mapping[str, Any]]] = {entry.name: {} for entry in entries}
        known = {row["name"]: float(row["seconds"]) for row in read_rows(TABLE) if row.get("seconds")}
        tasks = [Task(entry, seed) for entry in entries for seed in entry.seeds]
        self.queue = Queue(FOLDER, tasks, jobs, known)

    def run(self) -> None:
        failures = []
        for task, result in self.queue.run():
            if isinstance(result, RunError):
                failures.append(str(result))
                print(f"error: {result}", file=sys.stderr, flush=True)
            else:
                self.results[task.entry.name][task.seed] = result
                self.finish(task.entry)
        if failures:
            sys.exit(f"error: {len(failures)} runs failed; the other rows are written")

    def finish(self, entry: Entry) -> None:
        """Writes the rows of an entry if its last run is done, and removes the runs' folders."""
        results = self.results[entry.name]
        if len(results) < len(entry.seeds):
            return
        rows = summarize(entry, [results[seed] for seed in entry.seeds])
        first = folder_of(FOLDER, Task(entry, entry.seeds[0]))
        if entry.figure:
            shutil.copyfile(first / "figures" / f"{entry.figure}.png", FIGURES / f"{entry.name}.png")
        write_rows(TABLE, rows)
        for row in rows.values():
            print(",".join(row.values()), flush=True)
        for seed in entry.seeds:
            shutil.rmtree(folder_of(FOLDER, Task(entry, seed)))


def summarize(entry: Entry, results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The rows of the table by name."""
    rows = {}
    for name, (metric, _) in entry.rows.items():
        values = [result[metric] for result in results]
        shown = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        rows[name] = {
            **empty_row(entry, name),
            **{key: f"{value:.3g}" if value < 0.1 else f"{value:.3f}" for key, value in shown.items()},
            "seconds": f"{statistics.median(result['seconds'] for result in results):.0f}",
            "seeds": " ".join(map(str, entry.seeds)),
            "version": dl.__version__,
        }
    return rows


def empty_row(entry: Entry, name: str) -> dict[str, str]:
    """A row that was not measured."""
    metric, baseline = entry.rows[name]
    given = {"name": name, "command": entry.command, "metric": word(metric), "baseline": baseline}
    return {column: given.get(column, "") for column in COLUMNS}


def write_rows(path: Path, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Puts rows into the table in the order of `ENTRIES`; a row that was not measured is there without numbers.

    An older row of the same command keeps its numbers.
    """
    old = {row["name"]: row for row in read_rows(path)}
    table = []
    for entry in ENTRIES:
        for name in entry.rows:
            row = empty_row(entry, name)
            if name in old and old[name]["command"] == entry.command:
                row |= {column: old[name][column] for column in MEASURED}
            table.append(dict(rows.get(name, row)))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(sys.argv[1:])
