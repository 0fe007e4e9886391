"""Does short trainings on the workers of a Slurm of two nodes, one of which is taken away in the middle.

    python -m tests.helpers.runs_on_slurm --runs=200

Node n2 is drained when a third of the runs have ended, and taken down, with its workers, at half of them; it comes back
at two thirds. The command fails unless the table equals the results of the same trainings, one after the other in this
process.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

import dlcore as dl
from dlcore.cli.command_line import load_command_line
from dlcore.training.distributed import enable_compilation_cache
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import running_cluster

EXPERIMENT = "experiments.temporal_order"
COMMON = ["--config.train.steps=20", "--config.test_examples=100", "--config.log.tensorboard=false"]
CELLS = ("gru", "lstm", "rnn", "identity")
EVENTS = {1 / 3: "state=drain reason=test", 1 / 2: "state=down reason=test", 2 / 3: "state=resume"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    lines = [
        [f"--config.cell={CELLS[index % len(CELLS)]}", f"--config.seed={index}"] for index in range(runs)
    ]
    with tempfile.TemporaryDirectory() as name:
        print("on Slurm:", json.dumps(on_slurm(Path(name), EXPERIMENT, COMMON, lines)), flush=True)
        rows = read_table(Path(name))
        for index, expected in enumerate(serial_results(Path(name) / "serial", lines)):
            found = {name: rows[index][name] for name in expected}
            assert found == expected, (index, found, expected)
    print("result:", json.dumps({"equal": len(rows)}))


def on_slurm(folder: Path, module: str, common: list[str], lines: list[list[str]]) -> Mapping[str, float]:
    """The result of the runs on four workers, two on each node; n2 is taken away in the middle and comes back."""
    (folder / "runs.txt").write_text("\n".join(map(" ".join, lines)))
    command = [sys.executable, "-m", "dlcore.launch.slurm", f"--runs={folder / 'runs.txt'}", "--workers=4"]
    command += ["--cpus_per_task=8", "--", module, f"--workdir={folder / 'series'}", *common]
    with running_cluster() as conf:
        environment = {**os.environ, "SLURM_CONF": str(conf)}
        with (folder / "log").open("w") as log:
            client = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        for fraction, state in EVENTS.items():
            while ended(folder) < fraction * len(lines):
                assert client.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            subprocess.run(["scontrol", "update", "nodename=n2", *state.split()], env=environment, check=True)
        out, _ = client.communicate()
        assert client.returncode == 0, (folder / "log").read_text()
    return json.loads(out.splitlines()[-1].removeprefix("result: "))


def ended(folder: Path) -> int:
    runs = folder / "series" / "runs"
    return sum(name.endswith(".json") for name in os.listdir(runs)) if runs.is_dir() else 0


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "series" / "runs.csv").open() as file:
        return list(csv.DictReader(file))


def serial_results(folder: Path, lines: list[list[str]]) -> Iterator[dict[str, str]]:
    """What the table must have of each run, from trainings in this process."""
    enable_compilation_cache()
    command_line = load_command_line(EXPERIMENT)
    for index, line in enumerate(lines):
        config = command_line.config([*COMMON, *line])
        with contextlib.redirect_stderr(io.StringIO()):
            trained = dl.train(command_line.experiment, config, folder / str(index))
        values = {name: repr(value) for name, value in trained.evaluation.items()}
        yield {"seed": str(config.seed), "cell": config.cell, "state": "done", "steps": "20", **values}
        if index % 20 == 0:
            jax.clear_caches()


if __name__ == "__main__":
    main()
