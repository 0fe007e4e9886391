"""Jobs of a real Slurm: whatever stops one, it is queued again and ends with the bits of an undisturbed run.

All jobs run at the same time, since Slurm looks at time limits every 30 seconds only.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlcore.launch import slurm
from dlcore.launch.launcher import run_launcher
from dlcore.launch.run_state import read_job, read_state
from dlcore.launch.slurm_queue import read_states
from dlcore.launch.status import row_of
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import missing_programs, running_cluster, wait_until
from tests.kills import results_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_programs()), reason=f"Slurm is not installed: no {missing_programs()}"),
]

STEPS = 30
NASTY = "it's \"; touch no; $(touch no) `touch no`\n%j größe \\ é"
FLAGS = [
    f"--config.train.steps={STEPS}",
    f"--config.train.eval_every={STEPS}",
    f"--config.checkpoint.every={STEPS}",  # so an earlier checkpoint is that of a stop
    "--config.log.figures=false",
    "--config.log.tensorboard=false",
    f"--config.note={NASTY}",
]
# The folder of the job that nothing stops; TensorStore takes a backslash as /.
PLAIN = NASTY.replace("\\", "")
STOPPED = ("signal", "requeue", "preempted", "warned", "limit")
WAIT = 150
# Kills the second process of a job; the shell that waits for it is another process with the same variables.
KILL = """
import os, pathlib, signal, sys
for path in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        variables, words = ((path / name).read_bytes().split(b"\\0") for name in ("environ", "cmdline"))
    except OSError:
        continue
    if {b"SLURM_JOB_ID=" + sys.argv[1].encode(), b"DLCORE_PROCESS_ID=1"} <= set(variables) and b"-m" in words[:2]:
        os.kill(int(path.name), signal.SIGKILL)
"""


class Jobs:
    """Jobs of the toy by the names of their runs, each in a folder of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch):
        self.folder, self._patch = folder, patch
        self.numbers: dict[str, str] = {}
        self.seconds_to_fail = 0.0

    def start(self, name, *flags, pause=0.0, **environment):
        """Submits a job; the batches of its first start are as slow as the pause makes them."""
        command = ["--", "tests.helpers.slow_toy", f"--workdir={self.folder / name}", *FLAGS]
        with self._patch.context() as patch:
            for variable, value in {"TOY_PAUSE": str(pause), **environment}.items():
                patch.setenv(variable, value)
            patch.setattr(slurm, "check_command", lambda command, devices: None)
            patch.setattr(sys, "argv", ["launch/slurm", *flags, *command])
            with pytest.raises(SystemExit) as stop:
                run_launcher(slurm.flag_rows(), slurm.launch)
        assert stop.value.code == 0
        job = read_job(self.folder / name) or read_job(self.folder / name / "0")
        self.numbers[name] = job.split("_")[0]

    def log(self, name):
        logs = sorted((self.folder / name / "launch").glob("slurm*.log"))
        return "".join(path.read_text(errors="replace") for path in logs)

    def states(self):
        """The states of all jobs, also of those in arrays, by number."""
        listed = ["squeue", "--noheader", "--array", "--states=all", "--format=%i"]
        return read_states(subprocess.run(listed, capture_output=True, text=True).stdout.split())

    def call_when(self, events):
        """Calls commands, each as soon as its condition is true."""
        events = list(events)

        def call_ready_ones():
            ready = [event for event in events if event[0]()]
            for event in ready:
                subprocess.run(event[1], check=True, capture_output=True)
                events.remove(event)
            return not events

        wait_until(call_ready_ones, WAIT, lambda: "".join(map(self.log, self.numbers)))

    def trains(self, name):
        return lambda: "step 6/" in self.log(name)

    def wait_for_failure(self, name):
        """Waits until a job has failed; keeps how long that took after the traceback."""
        wait_until(lambda: "Error: the data" in self.log(name), WAIT, lambda: self.log(name))
        began = time.monotonic()
        wait_until(lambda: self.states()[self.numbers[name]].state == "FAILED", WAIT, lambda: self.log(name))
        self.seconds_to_fail = time.monotonic() - began

    def wait_for_end(self):
        ended = lambda: not any(state.is_alive for state in self.states().values())
        wait_until(ended, WAIT, lambda: str(self.states()))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """All jobs, after the last one has ended. Each of `STOPPED` is stopped once, and has no checkpoint before."""
    with pytest.MonkeyPatch.context() as patch, running_cluster() as conf:
        patch.chdir(ROOT)
        for name, value in (("SLURM_CONF", str(conf)), ("JAX_PLATFORMS", "cpu"), ("PYTHONPATH", str(ROOT))):
            patch.setenv(name, value)
        jobs = Jobs(tmp_path_factory.mktemp("jobs"), patch)
        for name, seconds in (("warned", 50), ("limit", 0)):
            jobs.start(name, "--nodes=2", "--time=10", f"--signal_seconds={seconds}", pause=3)
        number, end = jobs.numbers, ["scontrol", "update"]
        jobs.call_when(
            [
                (jobs.trains("warned"), [*end, f"JobId={number['warned']}", "EndTime=now+70"]),
                (jobs.trains("limit"), [*end, f"JobId={number['limit']}", "EndTime=now+1"]),
            ]
        )
        jobs.local = start_local(jobs.folder / "local")
        for name in ("signal", "requeue", "cancelled", "killed"):
            jobs.start(name, "--nodes=2", pause=0.5)
        jobs.start("preempted", "--nodes=2", "--partition=low", "--cpus_per_task=20", pause=0.5)
        jobs.start("fails", "--nodes=2", TOY_FAILS_AT="9")
        jobs.start(PLAIN, "--nodes=2")
        (jobs.folder / "runs.txt").write_text("\n".join(f"--config.seed={seed}" for seed in range(4)))
        jobs.start("sweep", f"--sweep={jobs.folder / 'runs.txt'}", "--sweep_parallel=2")
        most_cores = ["--partition=high", "--nodes=2", "--cpus-per-task=20", "--output=/dev/null"]
        jobs.call_when(
            [
                (jobs.trains("signal"), ["scancel", "--signal=TERM", number["signal"]]),
                (jobs.trains("requeue"), ["scontrol", "requeue", number["requeue"]]),
                (jobs.trains("preempted"), ["sbatch", *most_cores, "--wrap=sleep 1"]),
                (jobs.trains("cancelled"), ["scancel", number["cancelled"]]),
                (jobs.trains("killed"), [sys.executable, "-c", KILL, number["killed"]]),
            ]
        )
        jobs.wait_for_failure("fails")
        jobs.wait_for_end()
        jobs.ended = jobs.states()
        yield jobs


def start_local(folder):
    """Starts the same run as two local processes."""
    command = [sys.executable, "-m", "dlcore.launch.local", "--processes=2", "--", "tests.helpers.slow_toy"]
    with folder.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [*command, f"--workdir={folder}", *FLAGS], stdout=log, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="module")
def local(jobs):
    """The results of the two local processes."""
    assert jobs.local.wait(WAIT) == 0, (jobs.folder / "local.log").read_text()
    return results_of(jobs.folder / "local")


def test_two_tasks_of_slurm_equal_two_local_processes(jobs, local):
    """Its flags and the path of its folder have every letter that a shell or Slurm could take for something else."""
    assert results_of(jobs.folder / PLAIN) == local
    assert jobs.ended[jobs.numbers[PLAIN]].restarts == 0
    assert json.loads((jobs.folder / PLAIN / "config.json").read_text())["note"] == NASTY
    assert not [path for path in (*ROOT.iterdir(), *jobs.folder.rglob("*")) if path.name == "no"]


@pytest.mark.parametrize("name", STOPPED)
def test_a_job_that_was_stopped_goes_on_and_ends_with_the_same_bits(jobs, local, name):
    log = jobs.log(name)
    state = jobs.ended[jobs.numbers[name]]
    assert (state.state, state.restarts >= 1) == ("COMPLETED", True), log
    assert "going on from step " in log
    assert results_of(jobs.folder / name) == local


def test_a_job_of_which_a_process_was_killed_begins_again(jobs, local):
    """It has no checkpoint before."""
    log = jobs.log("killed")
    state = jobs.ended[jobs.numbers["killed"]]
    assert (state.state, state.restarts) == ("COMPLETED", 1), log
    assert "process 1 was killed, with exit code 137" in log
    assert results_of(jobs.folder / "killed") == local


def test_a_cancelled_job_stays_cancelled(jobs):
    state = jobs.ended[jobs.numbers["cancelled"]]
    assert (state.state, state.restarts) == ("CANCELLED", 0)
    assert not (jobs.folder / "cancelled" / "result.json").exists()
    row = row_of(read_state(jobs.folder / "cancelled"), jobs.numbers["cancelled"], jobs.ended)
    assert row[1] == "cancelled"


def test_an_array_gives_a_result_for_each_run(jobs):
    losses = set()
    for index in range(4):
        folder = jobs.folder / "sweep" / str(index)
        assert json.loads((folder / "config.json").read_text())["seed"] == index
        losses.add(json.loads((folder / "result.json").read_text())["loss"])
        row = row_of(read_state(folder), read_job(folder), jobs.ended)
        assert row[1:5] == ("finished", f"{jobs.numbers['sweep']}_{index}", "0", f"{STEPS}/{STEPS}")
    assert len(losses) == 4


def test_a_process_that_fails_ends_the_job_and_its_traceback_is_last(jobs):
    state = jobs.ended[jobs.numbers["fails"]]
    assert (state.state, state.restarts) == ("FAILED", 0)
    assert jobs.log("fails").splitlines()[-1] == "1: RuntimeError: the data of step 9 is gone"
    assert jobs.seconds_to_fail < 20
