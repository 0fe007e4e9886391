"""Kills runs at random moments and starts them again until they end: their bits must be those of an undisturbed run.

    python -m tests.kills --kills=100                  # SIGKILL: a CNN, an LSTM, a BiGRU, and lion on 8 devices
    python -m tests.kills --kills=100 --signal=TERM    # SIGTERM: exit code 75 within 30 s

Half of the moments are uniform over a run; the other half are within 0.2 s after a line of its log. The command prints
how many kills came during which part of a run. It fails unless the parameters, the optimizer state, metrics.csv and
result.json equal those of an undisturbed run.
"""

import collections
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging

from dlcore.training.checkpoints.restore import restore_leaves, stored_tree
from dlcore.utils.trees import named_leaves
from tests.helpers.paths import ROOT

KILLS = flags.DEFINE_integer("kills", 100, "Number of kills.", lower_bound=1)
SIGNAL = flags.DEFINE_enum("signal", "KILL", ["KILL", "TERM"], "Signal that kills.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments.")

OFTEN = ["--config.train.log_every=2", "--config.train.eval_every=4", "--config.checkpoint.every=3"]
EXPERIMENTS = {
    "digits": ["experiments.digits", "--config.features=4,8", "--config.optimizer.warmup_steps=5"],
    "lstm": ["tests.helpers.sequence_toy", "--config.cell=lstm"],
    "bigru": ["tests.helpers.sequence_toy", "--config.cell=bigru"],
    "own_optimizer": [
        "tests.helpers.own_optimizer", "--config.mesh.model=2", "--config.mesh.parameters=sharded",
    ],
}  # fmt: skip
WITHIN = 30


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    counts = kill(KILLS.value, signal.Signals[f"SIG{SIGNAL.value}"], SEED.value, list(EXPERIMENTS))
    print("result:", json.dumps(counts))


def kill(kills: int, signal_number: signal.Signals, seed: int, experiments: list[str]) -> dict[str, int]:
    """The number of kills in each part of a run; AssertionError if the kills changed a run."""
    chance, counts = random.Random(seed), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        undisturbed = {
            experiment: run_undisturbed(experiment, Path(name) / experiment, timed=kills > 1)
            for experiment in experiments
        }
        for attempt in range(10 * kills):
            for experiment, (expected, seconds) in undisturbed.items():
                counts += kill_until_the_end(
                    experiment, Path(name) / f"{experiment}_{attempt}", expected, seconds, signal_number, chance,
                    kills - counts.total(),
                )  # fmt: skip
                print(f"{counts.total()} kills of {kills}: {dict(counts)}; equal bits", flush=True)
                if counts.total() >= kills:
                    return dict(counts)
    raise AssertionError(f"only {counts.total()} kills came before the end of a run")


def start(experiment: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        *EXPERIMENTS[experiment],
        "--config.train.steps=40",
        *OFTEN,
    ]
    with folder.with_suffix(".log").open("w") as log:
        return subprocess.Popen([*command, f"--workdir={folder}"], cwd=ROOT, stdout=log, stderr=log)


def run_undisturbed(experiment: str, folder: Path, timed: bool) -> tuple[dict, float]:
    """The results of a run that is not killed, and how long it takes with its programs in the compilation cache.

    Without ``timed``, the seconds may include those of compilation, and there is one run less.
    """
    began = time.monotonic()
    assert start(experiment, folder).wait() == 0, log_of(folder)
    if timed:
        began = time.monotonic()
        assert start(experiment, folder.with_name(f"{experiment}_timed")).wait() == 0
    return results_of(folder), time.monotonic() - began


def kill_until_the_end(experiment, folder, expected, seconds, signal_number, chance, most):
    """Kills a run up to five times, at most ``most`` times, then lets it end and compares its results."""
    counts = collections.Counter()
    while counts.total() < min(5, most):
        process = start(experiment, folder)
        wait_for_a_random_moment(process, folder, seconds, chance)
        part = part_of_run(folder)
        process.send_signal(signal_number)
        began = time.monotonic()
        code = wait_for_exit(process, folder)
        if code == 0 or "result:" in log_of(folder):  # it had ended, or was in its last step
            break
        if signal_number == signal.SIGTERM and not (code == -signal_number and part == "imports"):
            assert code == 75, (code, part, log_of(folder))
            assert time.monotonic() - began < WITHIN
        counts[part] += 1
    code = start(experiment, folder).wait()
    assert code == 0, (code, log_of(folder))
    differing = [name for name, value in results_of(folder).items() if value != expected[name]]
    assert not differing, (experiment, differing, log_of(folder))
    return counts


def wait_for_exit(process: subprocess.Popen[bytes], folder: Path) -> int:
    """The exit code; AssertionError with the tracebacks of all threads if the run does not end."""
    try:
        return process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        raise AssertionError(f"not ended within {WITHIN} s: {log_of(folder)}") from None


def wait_for_a_random_moment(
    process: subprocess.Popen[bytes], folder: Path, seconds: float, chance: random.Random
) -> None:
    if chance.random() < 0.5:
        wait(process, chance.uniform(0.2, seconds))
        return
    line = chance.randint(1, 20)
    while log_of(folder).count("\nstep ") < line and process.poll() is None:
        time.sleep(0.005)
    wait(process, chance.uniform(0, 0.2))


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Waits so long, or until the process ends."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def part_of_run(folder: Path) -> str:
    """What the run is doing, according to its log and its files."""
    text = log_of(folder)
    if "run folder" not in text:
        return "imports"
    if any((folder / "checkpoints").glob("*tmp*")):
        return "save"
    lines = [line for line in text.splitlines() if line.startswith(("step ", "figure:"))]
    if not lines:
        return "compile or restore"
    return "figures" if lines[-1].startswith("figure:") else "step or evaluation"


def log_of(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def results_of(folder: Path) -> dict:
    """Everything in a run's folder that must not depend on how often the run was stopped, as bytes."""
    result = json.loads((folder / "result.json").read_text())
    result.pop("seconds")
    newest = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    checkpoint = folder / "checkpoints" / str(newest)
    stored, here = stored_tree(checkpoint), jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
        for path, leaf in named_leaves(stored).items()
    }
    leaves = restore_leaves(checkpoint, stored, wanted)
    return {
        **{path: np.asarray(leaf).tobytes() for path, leaf in leaves.items()},
        "newest": newest,
        "result": result,
        "metrics.csv": (folder / "metrics.csv").read_bytes(),
        "config.json": (folder / "config.json").read_bytes(),
    }


if __name__ == "__main__":
    app.run(main)
