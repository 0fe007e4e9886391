"""The time from the start of a run to its first step, with an empty compilation cache and with a filled one.

    python -m benchmarks.start

Each round runs `experiments.digits`, `experiments.vowels` and its LSTM for one step, each in its own process, first
with an empty cache (cold), then with the cache of that run (warm). The benchmark prints the seconds from the start of
training (after imports and data), in brackets those from the start of the process, and the ratios of the medians.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
RUNS = {
    "digits": ["experiments.digits"],
    "vowels": ["experiments.vowels"],
    "vowels, LSTM": ["experiments.vowels", "--config.cell=lstm"],
}
ONE_STEP = ["--config.train.steps=1", "--config.optimizer.warmup_steps=0"]


def main() -> None:
    ratios: dict[str, float] = {}
    for name, arguments in RUNS.items():
        seconds: dict[str, list[float]] = {"cold": [], "warm": []}
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                for cache, found in seconds.items():
                    training, whole = first_step([*arguments, *ONE_STEP], Path(folder), cache)
                    found.append(training)
                    print(f"{name}, {cache}: {training:.2f} ({whole:.2f})", flush=True)
        ratios[name] = round(statistics.median(seconds["warm"]) / statistics.median(seconds["cold"]), 3)
    print("result:", json.dumps(ratios))


def first_step(arguments: list[str], folder: Path, name: str) -> tuple[float, float]:
    """Returns the seconds to the first step, from the start of training and from the start of the process."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", *arguments, f"--workdir={folder / name}"]
    began = time.monotonic()
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        moments: dict[str, float] = {}
        for line in process.stderr:
            moments.setdefault(line.split(":")[0].split("  ")[0], time.monotonic())
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return moments["step 1/1"] - moments["run folder"], moments["step 1/1"] - began


if __name__ == "__main__":
    main()
