"""How much time many runs take besides the runs themselves.

    python -m tests.helpers.runs_overhead --runs=2000 --workers=4

The command does runs of a toy, each of which sleeps up to 50 ms, on worker processes of this machine. Overhead a run is
(seconds from the first question to the last answer x workers - the sum of the runs' own seconds) / runs. The first run
of each worker imports the experiment, which counts as seconds of the run. It is also printed as CPU time of all
processes, from which the runs' own is not taken away.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from dlcore.launch.command import Command
from dlcore.launch.series.clusters import local_cluster
from dlcore.launch.series.execute import execute
from dlcore.launch.series.plan import plan_series
from dlcore.launch.series.record import Record


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print("result:", json.dumps(measure(Path(name), given.runs, given.workers)))


def measure(folder: Path, runs: int, workers: int) -> dict[str, float]:
    """The overhead a run and what it is made of."""
    (folder / "runs").mkdir()
    lines = [f"--config.seed={seed} --config.sleep={seed % 50 / 1000}" for seed in range(runs)]
    (folder / "runs.txt").write_text("\n".join(lines))
    began = time.monotonic()
    series = plan_series(Command("tests.helpers.many_toy", ("--mode=toy",), folder), folder / "runs.txt")
    planned = time.monotonic()
    records: dict[str, Record] = {}
    with local_cluster(workers) as cluster:
        cpu = cpu_of_workers(cluster)
        started, client = time.monotonic(), time.process_time()
        execute(cluster, series, records, isolate=False)
        seconds, client = time.monotonic() - started, time.process_time() - client
        cpu = cpu_of_workers(cluster) - cpu
    own = sum(record.seconds for record in records.values())
    return {
        "overhead_ms": round((seconds * workers - own) / runs * 1000, 2),
        "seconds": round(seconds, 2),
        "own_ms": round(own / runs * 1000, 2),
        "client_and_scheduler_cpu_ms": round(client / runs * 1000, 2),
        "workers_cpu_ms": round(cpu / runs * 1000, 2),
        "plan_ms": round((planned - began) / runs * 1000, 2),
        "start_s": round(started - planned, 2),
    }


def cpu_of_workers(cluster) -> float:
    return sum(cluster.client.run(time.process_time).values())


if __name__ == "__main__":
    main()
