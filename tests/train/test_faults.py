"""Whatever stops a run leaves it whole: signals, a second process, a call that hangs, a full disk, a kill."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlcore.train import loop
from dlcore.train.checkpoints import checksums
from dlcore.train.checkpoints.checksums import find_damage, write_checksums
from dlcore.train.checkpoints.manager import CheckpointError
from dlcore.train.engine import Engine
from dlcore.train.faults.watchdog import Watchdog
from tests.helpers.paths import ROOT

LONG = ("--config.train.steps=1000000", "--config.train.log_every=20", "--config.checkpoint.every=500")


@contextlib.contextmanager
def started(folder: Path, *arguments: str, program: str = "tests.helpers.sequence_toy"):
    """A run in a process of its own, whose stderr goes to a file beside its folder: a full pipe would stop it."""
    said = folder.with_suffix(".stderr")
    command = [sys.executable, "-m", program, f"--workdir={folder}", *arguments]
    with said.open("w") as file, subprocess.Popen(command, cwd=ROOT, stderr=file, stdout=file) as process:
        process.said = said
        try:
            yield process
        finally:
            process.kill()


def wait_for(process, text, seconds=120):
    deadline = time.monotonic() + seconds
    while text not in process.said.read_text():
        assert process.poll() is None, process.said.read_text()
        assert time.monotonic() < deadline, process.said.read_text()
        time.sleep(0.02)


def newest(folder):
    return max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGTERM, "SIGTERM"),
        pytest.param(signal.SIGUSR1, "SIGUSR1", marks=pytest.mark.slow),
    ],
)
def test_a_preempted_run_saves_and_asks_to_be_started_again(tmp_path, number, name):
    folder = tmp_path / "run"
    with started(folder, *LONG) as process:
        wait_for(process, "step 40/")
        process.send_signal(number)
        assert process.wait(30) == 75
        said = process.said.read_text()
    step = int(re.search(rf"stopped by {name} after step (\d+); everything up to it is saved", said)[1])
    assert newest(folder) == step
    assert find_damage(folder / "checkpoints" / str(step)) is None
    with started(folder, *LONG) as process:
        wait_for(process, f"step {step // 20 * 20 + 40}/")
        assert f"step {step // 20 * 20}/" not in process.said.read_text()


@pytest.mark.parametrize("moment", ["", "run folder:"], ids=["imports", "compilation"])
def test_a_run_that_is_preempted_before_its_first_step_says_so(tmp_path, moment):
    folder = tmp_path / "run"
    with started(folder, *LONG) as process:
        if moment:
            wait_for(process, moment)
        else:
            time.sleep(1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    # Before Python's handlers are there, in the first second, the signal ends the process as ever.
    assert code == 75 or (not moment and code == -signal.SIGTERM)


def test_a_long_compilation_ends_in_time(tmp_path):
    """The main thread is in C and hears nothing, so that the deadline has to end the process."""
    program = (
        "import hashlib\n"
        "from dlcore.train.stopping import StopSignals\n"
        "with StopSignals(grace=0.5):\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 100_000_000)\n"  # a minute without a look at signals
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75
        assert time.monotonic() - began < 10
        assert "stopped by SIGTERM: not at the end of a call after 0 s" in process.stderr.read()


@pytest.mark.slow
def test_a_second_process_in_a_runs_folder_is_refused_and_harms_nothing(tmp_path):
    folder = tmp_path / "run"
    with started(folder, *LONG) as process:
        wait_for(process, "step 20/")
        second = subprocess.run(
            [sys.executable, "-m", "tests.helpers.sequence_toy", f"--workdir={folder}", *LONG],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert second.returncode == 2
        assert f"{folder}: another process trains in this folder" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        at = process.said.read_text().count("step ")
        time.sleep(0.5)
        assert process.poll() is None
        assert process.said.read_text().count("step ") > at
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with started(folder, *LONG) as process:  # a killed process holds no lock
        wait_for(process, "steps/s")


def test_a_call_that_hangs_ends_with_tracebacks():
    program = (
        "import time\n"
        "from dlcore.train.stopping import Watchdog\n"
        "def stuck_in_a_collective():\n"
        "    time.sleep(60)\n"
        "with Watchdog(1.0) as watchdog:\n"
        "    for _ in range(15):\n"
        "        time.sleep(0.1)\n"
        "        watchdog.alive()\n"
        "    print('alive', flush=True)\n"
        "    stuck_in_a_collective()\n"
    )
    began = time.monotonic()
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stdout == "alive\n"
    assert "stuck_in_a_collective" in finished.stderr
    assert time.monotonic() - began < 30


def test_a_watchdog_that_is_left_bites_nobody():
    with Watchdog(0.2):
        pass
    time.sleep(0.4)


def test_a_full_disk_ends_the_run_and_keeps_the_last_good_checkpoint(make_toy, tmp_path, monkeypatch):
    toy = make_toy(steps=24)
    write = write_checksums

    def full(folder):
        if folder.name.startswith("12"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder)

    monkeypatch.setattr(checksums, "write", full)
    with pytest.raises(
        CheckpointError,
        match=r"the disk is full .*: step 12 was not saved, the last good checkpoint is of step 6",
    ):
        loop.train(Engine(toy.experiment, toy.config), tmp_path)
    assert newest(tmp_path) == 6
    monkeypatch.undo()
    assert int(loop.train(Engine(toy.experiment, toy.config), tmp_path).state.step) == 24


def test_a_damaged_newest_checkpoint_is_passed_over_and_the_run_ends_with_the_same_bits(
    make_toy, tmp_path, capsys
):
    for name in ("whole", "damaged"):
        (tmp_path / name).mkdir()
        toy = make_toy(steps=12)
        finished = loop.train(Engine(toy.experiment, toy.config), tmp_path / name)
    victim = max(
        (tmp_path / "damaged" / "checkpoints" / "12").rglob("*"), key=lambda path: path.stat().st_size
    )
    victim.write_bytes(victim.read_bytes()[:-7])
    again = loop.train(Engine(toy.experiment, toy.config), tmp_path / "damaged")
    assert again.evaluation == finished.evaluation
    assert (tmp_path / "damaged" / "metrics.csv").read_bytes() == (
        tmp_path / "whole" / "metrics.csv"
    ).read_bytes()
    assert (tmp_path / "damaged" / "damaged_checkpoints" / "12").is_dir()
    assert "moved to" in capsys.readouterr().err
