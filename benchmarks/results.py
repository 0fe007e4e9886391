"""What the experiments reach: runs their commands with the seeds 0, 1, 2 and writes the table of the documentation.

    python -m benchmarks.results                 # all rows, some hours on 2 CPU cores
    python -m benchmarks.results digits vowels   # the rows whose names begin with one of these words
    python -m benchmarks.results --list          # the rows and their commands; runs nothing

Each run is a process of its own in a temporary folder. A row is written to ``docs/results.csv`` when its runs are
done; the other rows stay as they are.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dlcore as dl
from dlcore.utils.files import atomic_write

TABLE = Path(__file__).parent.parent / "docs" / "results.csv"
COLUMNS = (
    *("name", "command", "metric", "median", "lowest", "highest"),
    *("seconds", "seeds", "baseline", "version"),
)
METRICS = {"accuracy": "accuracy", "loss": "cross-entropy", "mean_squared_error": "squared error"}
SEEDS = (0, 1, 2)


class Entry(NamedTuple):
    """One row of the table.

    Attributes:
        name: names the row; the first word is the experiment's.
        arguments: the command after ``python -m experiments.``.
        metric: the number of the result line that is shown.
        baseline: what a method without a network reaches, or chance.
    """

    name: str
    arguments: str
    metric: str = "accuracy"
    baseline: str = ""

    @property
    def command(self) -> str:
        return f"python -m experiments.{self.arguments}"


def long_memory(name: str, arguments: str) -> Entry:
    """A row of a synthetic task, with its metric and what chance reaches."""
    metric, baseline = {
        "adding": ("mean_squared_error", "0.167 (chance)"),
        "copy": ("loss", "0.297 (chance)"),
        "order": ("accuracy", "0.25 (chance)"),
        "pixels": ("accuracy", "0.1 (chance)"),
    }[name.split("-")[0]]
    return Entry(name, arguments, metric, baseline)


PIXELS = "pixels --config.cell="
ROWS = "pixels --config.reading=rows --config.data.name=mnist5k --config.cell="
ENTRIES = (
    Entry("digits", "digits", baseline="0.969 (SVC)"),
    Entry("digits-mnist5k", "digits --config.data.name=mnist5k", baseline="0.959 (SVC)"),
    Entry("vowels", "vowels", baseline="0.949 (1-NN, dynamic time warping)"),
    *(
        Entry(f"vowels-{value}", f"vowels --config.{name}={value}", baseline="0.949 (1-NN)")
        for name, value in (
            ("direction", "forward"),
            ("direction", "backward"),
            ("cell", "lstm"),
            ("cell", "rnn"),
        )
    ),
    *(
        long_memory(f"adding-{cell}", f"adding --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("adding-rnn-half", "adding --config.cell=rnn --config.recurrent_scale=0.5"),
    long_memory("adding-rnn-gaussian", "adding --config.cell=rnn --config.recurrent_init=gaussian"),
    long_memory("adding-clipping", "adding --preset=clipping"),
    long_memory("adding-clipping-10", "adding --preset=clipping --config.optimizer.clip_norm=10"),
    long_memory(
        "adding-clipping-rnn", "adding --preset=clipping --config.cell=rnn --config.input_deviation=none"
    ),
    *(
        long_memory(f"order-{cell}", f"temporal_order --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("order-rnn-half", "temporal_order --config.cell=rnn --config.recurrent_scale=0.5"),
    *(
        long_memory(f"order-rnn-{remedy}", f"temporal_order --config.cell=rnn --config.remedy={remedy}")
        for remedy in ("omega", "flossing")
    ),
    long_memory("order-100-rnn", "temporal_order --config.length=100 --config.cell=rnn"),
    *(
        long_memory(
            f"order-100-{remedy}",
            f"temporal_order --config.length=100 --config.cell=rnn --config.remedy={remedy}",
        )
        for remedy in ("omega", "flossing")
    ),
    long_memory("copy-lstm", "copy_memory"),
    long_memory("copy-lstm-forget", "copy_memory --config.forget_bias=3.912"),
    long_memory("copy-lstm-chrono", "copy_memory --config.chrono=70"),
    long_memory("copy-gru", "copy_memory --config.cell=gru"),
    long_memory("pixels-gru", f"{PIXELS}gru"),
    long_memory("pixels-lstm", f"{PIXELS}lstm"),
    long_memory("pixels-identity", f"{PIXELS}identity --config.input_deviation=0.1"),
    long_memory("pixels-permuted-gru", f"{PIXELS}gru --config.permuted=true"),
    long_memory("pixels-permuted-lstm", f"{PIXELS}lstm --config.permuted=true"),
    *(long_memory(f"pixels-rows-{cell}", f"{ROWS}{cell}") for cell in ("rnn", "identity", "lstm", "gru")),
)


def main(arguments: Sequence[str]) -> None:
    words = [argument for argument in arguments if argument != "--list"]
    chosen = [entry for entry in ENTRIES if not words or entry.name.startswith(tuple(words))]
    if not chosen:
        sys.exit(f"error: {' '.join(words)} names no row; --list shows them")
    for entry in chosen:
        if "--list" in arguments:
            print(f"{entry.name:22} {entry.command}")
        else:
            row = summarize(entry, [run(entry, seed) for seed in SEEDS])
            write_row(TABLE, row)
            print(",".join(row.values()), flush=True)


def run(entry: Entry, seed: int) -> dict[str, Any]:
    """The result of one run of the entry's command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"experiments.{entry.arguments.split()[0]}"]
        command += [*entry.arguments.split()[1:], f"--config.seed={seed}", f"--workdir={folder}/run"]
        finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(
            f"error: {entry.command} --config.seed={seed} ended with {finished.returncode}:\n{finished.stderr}"
        )
    return json.loads(finished.stdout.splitlines()[-1].removeprefix("result: "))


def summarize(entry: Entry, results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The row of the table."""
    values = [result[entry.metric] for result in results]
    shown = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {
        "name": entry.name,
        "command": entry.command,
        "metric": METRICS[entry.metric],
        **{name: f"{value:.3g}" if value < 0.1 else f"{value:.3f}" for name, value in shown.items()},
        "seconds": f"{statistics.median(result['seconds'] for result in results):.0f}",
        "seeds": " ".join(map(str, SEEDS[: len(results)])),
        "baseline": entry.baseline,
        "version": dl.__version__,
    }


def write_row(path: Path, row: Mapping[str, str]) -> None:
    """Puts a row into the table, in the place of an older one of its name; the rows are in the order of `ENTRIES`."""
    rows = {old["name"]: old for old in read_rows(path)} | {row["name"]: dict(row)}
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[entry.name] for entry in ENTRIES if entry.name in rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(sys.argv[1:])
