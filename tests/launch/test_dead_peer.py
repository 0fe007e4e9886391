"""Two local processes that train: one ends in the middle of a step, and the other one ends, too, and says why."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.launched import LAUNCHER
from tests.helpers.paths import ROOT
from tests.kills import results_of

WITHIN = 15  # seconds
GOES_ON = "the same command goes on from the newest checkpoint"


class Finished(NamedTuple):
    code: int
    errors: list[str]
    text: str
    seconds: float


def train(folder, doom=None):
    """Trains in two processes; `seconds` counts from the end of the doomed process to that of the launcher."""
    told = folder.with_name("doomed")
    told.parent.mkdir(parents=True, exist_ok=True)
    told.unlink(missing_ok=True)
    command = [*LAUNCHER, "--processes=2", "--", "tests.helpers.doomed_toy", f"--workdir={folder}"]
    flags = ["--config.mesh.data=2", "--config.train.steps=40", "--config.checkpoint.every=4"]
    flags += ["--config.log.figures=false", "--config.log.tensorboard=false"]
    finished = subprocess.run(
        [*command, *flags],
        cwd=ROOT,
        env={**os.environ, **({"DOOMED": f"{doom} {told}"} if doom else {})},
        capture_output=True,
        text=True,
        timeout=200,
    )
    seconds = time.time() - float(told.read_text()) if doom else 0.0
    lines = finished.stderr.splitlines()
    errors = [line for line in lines if "error: " in line or "Error: " in line]
    return Finished(finished.returncode, errors, finished.stderr, seconds)


@pytest.mark.slow
def test_a_job_that_loses_a_process_names_it_ends_soon_and_goes_on_with_the_same_bits(tmp_path):
    assert train(tmp_path / "whole").code == 0
    run = tmp_path / "run"
    host = os.uname().nodename

    killed = train(run, "1 14 kill")
    assert killed.seconds < WITHIN
    assert killed.errors == [
        f"[0] error: process 1 ({host}) of the job died; {GOES_ON}",
        "error: process 1 was killed by SIGKILL",
    ], killed.text
    assert killed.code == 137

    killed = train(run, "0 22 kill")
    assert "going on from step" in killed.text
    assert killed.seconds < WITHIN
    # JAX may print a message of its own before process 1 is ended.
    assert f"[1] error: process 0 ({host}) of the job died; {GOES_ON}" in killed.errors, killed.text
    assert killed.errors[-1] == "error: process 0 was killed by SIGKILL"
    assert killed.code == 137

    for process, other, step in ((1, 0, 30), (0, 1, 34)):
        failed = train(run, f"{process} {step} raise")
        assert failed.seconds < WITHIN
        assert failed.errors == [
            f"[{other}] error: process {process} ({host}) of the job failed: KeyError: 'doomed'",
            f"[{process}] KeyError: 'doomed'",
        ], failed.text
        assert failed.text.endswith(f"\n[{process}] KeyError: 'doomed'\n")
        assert failed.code == 1

    finished = train(run)
    assert finished.code == 0, finished.text
    assert "going on from step" in finished.text
    assert results_of(run) == results_of(tmp_path / "whole")


if __name__ == "__main__":  # prints the seconds of the table in docs/launch_local.md
    with tempfile.TemporaryDirectory() as name:
        for turn in range(5):
            for what in ("1 14 kill", "0 14 kill", "1 14 raise", "0 14 raise"):
                print(what, round(train(Path(name) / f"{turn} {what}" / "run", what).seconds, 1), flush=True)
