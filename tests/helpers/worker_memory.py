"""How the memory of a worker and its time for a run change over many trainings of several cells.

    python -m tests.helpers.worker_memory --runs=200

The command does what a worker does, in this process.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from dlcore.launch.command import Command
from dlcore.launch.series.plan import plan_series
from dlcore.launch.series.work import Task, work
from tests.helpers.runs_on_slurm import CELLS, COMMON, EXPERIMENT


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "runs").mkdir()
        lines = [f"--config.cell={CELLS[index % len(CELLS)]} --config.seed={index}" for index in range(runs)]
        (folder / "runs.txt").write_text("\n".join(lines))
        series = plan_series(Command(EXPERIMENT, tuple(COMMON), folder), folder / "runs.txt")
        for count, run in enumerate(series.runs, 1):
            record = work(Task(series.module, series.mode, run.arguments, run.name, name, "client"))
            assert record is not None
            assert record.error is None, record
            if count in (1, 10) or count % 20 == 0:
                print("result:", json.dumps({"runs": count, **memory()}), flush=True)


def memory() -> dict[str, float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    maps = Path("/proc/self/maps").read_bytes().count(b"\n")
    return {"MiB": pages * 4 // 1024, "memory_maps": maps, "cpu_seconds": round(time.process_time(), 1)}


if __name__ == "__main__":
    main()
