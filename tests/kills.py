"""Kills runs at random moments and starts them again, until each has ended: the bits must be those of one go.

    python -m tests.kills --kills=100                  # SIGKILL: digits, an LSTM, a BiGRU, dropout and BatchNorm on
    python -m tests.kills --kills=100 --signal=TERM    # SIGTERM: exit code 75 within 30 s

Half of the moments are uniform over a run, half are within 0.2 s after a line of its log. Printed are the moments by
what the run was at. It fails unless parameters, optimizer state, metrics.csv and result.json equal those of a run
in one go.
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
import orbax.checkpoint as ocp
from absl import app, flags, logging

from tests.helpers.paths import ROOT

KILLS = flags.DEFINE_integer("kills", 100, "How many.", lower_bound=1)
SIGNAL = flags.DEFINE_enum("signal", "KILL", ["KILL", "TERM"], "Which signal.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")


OFTEN = ["--config.train.log_every=2", "--config.train.eval_every=4", "--config.checkpoint.every=3"]
EXPERIMENTS = {
    "digits": ["experiments.digits", "--config.features=4,8", "--config.optimizer.warmup_steps=5"],
    "lstm": ["tests.helpers.sequence_toy", "--config.cell=lstm"],
    "bigru": ["tests.helpers.sequence_toy", "--config.cell=bigru"],
}
WITHIN = 30


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    moments = kill(KILLS.value, signal.Signals[f"SIG{SIGNAL.value}"], SEED.value, list(EXPERIMENTS))
    print("result:", json.dumps(moments))


def kill(kills: int, number: signal.Signals, seed: int, experiments: list[str]) -> dict[str, int]:
    """The numbers of kills by moment; AssertionError where a run was changed by them."""
    chance, moments = random.Random(seed), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        whole = {experiment: in_one_go(experiment, Path(name) / experiment) for experiment in experiments}
        for attempt in range(10 * kills):
            for experiment, (expected, seconds) in whole.items():
                moments += until_the_end(
                    experiment, Path(name) / f"{experiment}_{attempt}", expected, seconds, number, chance,
                    kills - moments.total(),
                )  # fmt: skip
                print(f"{moments.total()} kills of {kills}: {dict(moments)}; equal bits", flush=True)
                if moments.total() >= kills:
                    return dict(moments)
    raise AssertionError(f"only {moments.total()} kills found a run that was alive")


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


def in_one_go(experiment: str, folder: Path) -> tuple[dict, float]:
    """What a run leaves that is not stopped, and how long it takes, with its programs in the cache."""
    assert start(experiment, folder).wait() == 0, said(folder)
    began = time.monotonic()
    assert start(experiment, folder.with_name(f"{experiment}_timed")).wait() == 0
    return left_by(folder), time.monotonic() - began


def until_the_end(experiment, folder, expected, seconds, number, chance, most):
    """Kills a run up to five times, or ``most``, then lets it end and compares."""
    moments = collections.Counter()
    while moments.total() < min(5, most):
        process = start(experiment, folder)
        strike(process, folder, seconds, chance)
        moment = at(folder)
        process.send_signal(number)
        began = time.monotonic()
        code = ended(process, folder)
        if code == 0 or "result:" in said(folder):  # it had ended, or was in its last step
            break
        if number == signal.SIGTERM and not (code == -number and moment == "imports"):
            assert code == 75, (code, moment, said(folder))
            assert time.monotonic() - began < WITHIN
        moments[moment] += 1
    code = start(experiment, folder).wait()
    assert code == 0, (code, said(folder))
    differing = [name for name, value in left_by(folder).items() if value != expected[name]]
    assert not differing, (experiment, differing, said(folder))
    return moments


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    """The exit code; AssertionError with the tracebacks of all threads where the run does not end."""
    try:
        return process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        raise AssertionError(f"not ended within {WITHIN} s: {said(folder)}") from None


def strike(process: subprocess.Popen[bytes], folder: Path, seconds: float, chance: random.Random) -> None:
    """Waits for the moment."""
    if chance.random() < 0.5:
        wait(process, chance.uniform(0.2, seconds))
        return
    line = chance.randint(1, 20)
    while said(folder).count("\nstep ") < line and process.poll() is None:
        time.sleep(0.005)
    wait(process, chance.uniform(0, 0.2))


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


def at(folder: Path) -> str:
    """What the run is doing, by what it has said and written."""
    text = said(folder)
    if "run folder" not in text:
        return "imports"
    if any((folder / "checkpoints").glob("*tmp*")):
        return "save"
    lines = [line for line in text.splitlines() if line.startswith(("step ", "figure:"))]
    if not lines:
        return "compile or restore"
    return "figures" if lines[-1].startswith("figure:") else "step or evaluation"


def said(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def left_by(folder: Path) -> dict:
    """Everything of a run that must not depend on how often it was stopped, as bytes."""
    result = json.loads((folder / "result.json").read_text())
    result.pop("seconds")
    newest = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    state = ocp.StandardCheckpointer().restore(folder / "checkpoints" / str(newest) / "default")
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    return {
        **leaves,
        "newest": newest,
        "result": result,
        "metrics.csv": (folder / "metrics.csv").read_bytes(),
        "config.json": (folder / "config.json").read_bytes(),
    }


if __name__ == "__main__":
    app.run(main)
