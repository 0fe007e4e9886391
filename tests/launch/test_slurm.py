"""`launch/slurm`: what it checks, submits, writes and prints; Slurm's programs are fakes here."""

import json
import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

import pytest

from dlcore.launch import slurm
from dlcore.launch.launcher import run_launcher
from dlcore.launch.run_state import read_job, write_job
from dlcore.utils.locks import lock_file, open_lock
from tests.helpers.paths import ROOT

ARGUMENTS = ["--", "experiments.adding", "--run=first"]


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """An empty folder with experiments, in which sbatch and squeue are fakes."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "states").touch()
    for name, text in (("sbatch", "/bin/cat > submitted; echo 12"), ("squeue", "/bin/cat states")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ncd '{tmp_path}'\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def checked(monkeypatch):
    """The commands that were checked, as the words after the module, and the number of devices."""
    found = []
    monkeypatch.setattr(
        slurm, "check_command", lambda command, devices: found.append((command.arguments, devices))
    )
    return found


@pytest.fixture
def call(cluster, checked, monkeypatch, capfd):
    def launch(*arguments):
        monkeypatch.setattr(sys, "argv", ["launch/slurm", *arguments])
        with pytest.raises(SystemExit) as stop:
            run_launcher(slurm.flag_rows(), slurm.launch)
        return Finished(stop.value.code, *capfd.readouterr())

    return launch


def files(folder):
    """The files below a folder that launchers and runs make."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "bin" not in path.parts
    )


def test_a_job_is_checked_submitted_and_kept(call, cluster, checked):
    ended = call("--nodes=2", "--tasks_per_node=2", "--gpus_per_task=3", "--time=1:00:00", *ARGUMENTS)
    assert ended.code == 0, ended.err
    assert checked == [(("--run=first",), 12)]
    folder = cluster / "runs" / "adding" / "first"
    script = (folder / "launch" / "slurm.sh").read_text()
    assert (cluster / "submitted").read_text() == script
    assert {"#SBATCH --nodes=2", "#SBATCH --gpus-per-node=6", "#SBATCH --job-name=adding_first"} <= set(
        script.splitlines()
    )
    assert f"cd -- {shlex.quote(str(cluster))} || exit 2" in script.splitlines()
    assert json.loads((folder / "launch" / "slurm.json").read_text()) == {
        "job": "12",
        "log": str(folder / "launch" / "slurm.log"),
    }
    assert files(cluster / "runs") == ["adding/first/launch/slurm.json", "adding/first/launch/slurm.sh"]
    assert ended.out.splitlines() == [
        f"job 12: {folder}/launch/slurm.sh",
        f"follow: tail -F {folder}/launch/slurm.log",
        f"state:  launch/status {folder}",
        "cancel: scancel 12",
        "resume: launch/slurm --nodes=2 --tasks_per_node=2 --gpus_per_task=3 --time=1:00:00 -- experiments.adding "
        "--run=first",
    ]


def test_the_command_that_resumes_has_the_same_folder_and_words(call, cluster):
    words = ["--config.x=it's; $(touch no)", "--config.y=two\nlines"]
    first = call("--setup=module load a", "--sbatch", "--licenses=x", "experiments.adding", *words)
    assert first.code == 0, first.err
    resume = first.out.splitlines()[-1].removeprefix("resume: ")
    read = subprocess.run(
        ["/bin/bash", "-c", f"printf '%s\\0' {resume}"], capture_output=True, text=True, check=True
    )
    (folder,) = (cluster / "runs" / "adding").iterdir()
    assert read.stdout.split("\0")[:-1] == [
        *("launch/slurm", "--setup=module load a", "--sbatch", "--licenses=x", "--", "experiments.adding"),
        *(*words, f"--workdir={folder}"),
    ]


def test_a_dry_run_prints_the_script_and_writes_nothing(call, cluster, checked):
    for program in ("sbatch", "squeue"):
        (cluster / "bin" / program).unlink()
    ended = call("--dry_run", "--partition=gpu", *ARGUMENTS)
    assert ended.code == 0, ended.err
    assert "#SBATCH --partition=gpu" in ended.out.splitlines()
    assert len(checked) == 1
    assert not (cluster / "runs").exists()


SWEEP = (
    "--config.seed=1 --config.name='a b'\n# a comment\n--config.seed=2 --config.name=c\n--config.length=5\n"
)


def test_a_sweep_is_an_array_with_a_folder_a_run(call, cluster, checked):
    (cluster / "runs.txt").write_text(SWEEP)
    ended = call("--sweep=runs.txt", "--sweep_parallel=2", *ARGUMENTS, "--config.cell=gru")
    assert ended.code == 0, ended.err
    folder = cluster / "runs" / "adding" / "first"
    script = (cluster / "submitted").read_text().splitlines()
    assert "#SBATCH --array=0-2%2" in script
    assert f"command=({sys.executable} -m experiments.adding --config.cell=gru)" in script
    assert f"0) command+=(--config.seed=1 '--config.name=a b' --workdir={folder}/0) ;;" in script
    assert f"2) command+=(--config.length=5 --workdir={folder}/2) ;;" in script
    assert [read_job(folder / str(index)) for index in range(3)] == ["12_0", "12_1", "12_2"]
    assert [arguments[1].split("=")[0] for arguments, _ in checked] == ["--config.seed", "--config.length"]
    assert f"follow: tail -F {folder}/launch/slurm-*.log" in ended.out.splitlines()


def finish(folder):
    (folder / "checkpoints" / "9").mkdir(parents=True)
    (folder / "config.json").write_text('{"train": {"steps": 9}}')
    (folder / "result.json").write_text('{"steps": 9}')


def test_a_sweep_goes_on_with_the_runs_that_are_not_finished(call, cluster):
    (cluster / "runs.txt").write_text(SWEEP)
    finish(cluster / "runs" / "adding" / "first" / "1")
    assert call("--sweep=runs.txt", *ARGUMENTS).code == 0
    assert "#SBATCH --array=0,2" in (cluster / "submitted").read_text().splitlines()


def test_a_finished_run_may_do_more(call, cluster):
    finish(cluster / "runs" / "adding" / "first")
    assert call(*ARGUMENTS).code == 2
    assert call(*ARGUMENTS, "--mode=gradient_flow").code == 0
    assert call(*ARGUMENTS, "--config.train.steps=20").code == 0


def test_a_job_that_ended_may_be_submitted_again(call, cluster):
    folder = cluster / "runs" / "adding" / "first"
    write_job(folder, "7", folder / "log")
    for states in ("", "7|CANCELLED|0|None|\n", "7|TIMEOUT|0|TimeLimit|\n"):
        (cluster / "states").write_text(states)
        assert call(*ARGUMENTS).code == 0
        write_job(folder, "7", folder / "log")


def occupied(cluster):
    folder = cluster / "runs" / "adding" / "first"
    folder.mkdir(parents=True)
    return folder


def queued(cluster):
    write_job(occupied(cluster), "7", cluster / "log")
    (cluster / "states").write_text("7|PENDING|0|Resources|\n")


def running_sweep(cluster):
    (cluster / "runs.txt").write_text(SWEEP)
    write_job(occupied(cluster) / "1", "7_1", cluster / "log")
    (cluster / "states").write_text("7_1|RUNNING|0|None|\n")


def refusing(cluster):
    error = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    (cluster / "bin" / "sbatch").write_text(f"#!/bin/sh\necho '{error}' >&2; exit 1\n")


def wrong_lines(cluster):
    (cluster / "runs.txt").write_text("--config.seed=1\n--config.seed='2\n")


def a_file_in_the_way(cluster):
    (cluster / "runs").write_text("")


BAD = {
    "no experiment": (
        (),
        ["--nodes=2"],
        "experiment: got none, expected a module such as experiments.digits",
    ),
    "unknown experiment": (
        (),
        ["experiments.adding2"],
        "experiment: got 'experiments.adding2', .*did you mean 'adding'",
    ),
    "unknown flag": ((), ["--node=2", *ARGUMENTS], "--node: no such flag, see --help; did you mean 'nodes'"),
    "no nodes": ((), ["--nodes=0", *ARGUMENTS], "--nodes: got '0', expected an integer >= 1"),
    "negative GPUs": (
        (),
        ["--gpus_per_task=-1", *ARGUMENTS],
        "--gpus_per_task: got '-1', expected an integer >= 0",
    ),
    "bad time": ((), ["--time=4h", *ARGUMENTS], "--time: got '4h', expected .*a time as M, M:S, H:M:S"),
    "no time": ((), ["--time=0", *ARGUMENTS], "--time: got '0', expected"),
    "a line break in a header": (
        (),
        ["--partition=a\nb", *ARGUMENTS],
        r"--partition: got 'a\\nb', expected printable text",
    ),
    "a signal before the start": ((), ["--time=2", *ARGUMENTS], "--signal_seconds: got 120 with --time=2"),
    "bad container": (
        (),
        ["--container=docker:x", *ARGUMENTS],
        "--container: got 'docker:x', expected apptainer:IMAGE",
    ),
    "own option": (
        (),
        ["--sbatch=--nodes=3", *ARGUMENTS],
        "--sbatch: got '--nodes=3', but launch/slurm sets",
    ),
    "two folders": ((), [*ARGUMENTS, "--workdir=x"], "--run: got a --workdir too"),
    "no sbatch": (
        lambda path: (path / "bin" / "sbatch").unlink(),
        ARGUMENTS,
        "sbatch: not on the PATH; call",
    ),
    "refused partition": (refusing, ARGUMENTS, "sbatch: Batch job submission failed: Invalid partition name"),
    "unwritable folder": (
        a_file_in_the_way,
        ARGUMENTS,
        ".*/runs/adding/first/launch: Not a directory; choose",
    ),
    "finished": (
        lambda path: finish(path / "runs" / "adding" / "first"),
        ARGUMENTS,
        ".*/first: is finished; choose",
    ),
    "queued": (queued, ARGUMENTS, ".*/first: job 7 is PENDING; wait for it, or scancel 7"),
    "running sweep": (
        running_sweep,
        ["--sweep=runs.txt", *ARGUMENTS],
        ".*/first/1: job 7_1 is RUNNING; wait",
    ),
    "missing sweep": ((), ["--sweep=none.txt", *ARGUMENTS], "none.txt: No such file or directory"),
    "empty sweep": (
        lambda path: (path / "runs.txt").touch(),
        ["--sweep=runs.txt", *ARGUMENTS],
        "--sweep: got .* without",
    ),
    "open quote": (
        wrong_lines,
        ["--sweep=runs.txt", *ARGUMENTS],
        "--sweep: runs.txt:2: got .*No closing quotation",
    ),
    "no parallel runs": (
        wrong_lines,
        ["--sweep=runs.txt", "--sweep_parallel=0", *ARGUMENTS],
        "--sweep_parallel: got 0",
    ),
    "parallel alone": ((), ["--sweep_parallel=2", *ARGUMENTS], "--sweep_parallel: got 2 without a --sweep"),
    "a sweep in a run": (
        lambda path: (occupied(path) / "config.json").write_text("{}"),
        ["--sweep=runs.txt", *ARGUMENTS],
        ".*/first: holds a run; a sweep needs a folder of its own",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_launch_is_one_line_and_nothing_is_submitted_or_written(name, call, cluster):
    prepare, arguments, message = BAD[name]
    if prepare:
        prepare(cluster)
    before = files(cluster)
    ended = call(*arguments)
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if not line.startswith("checking ")]
    assert len(lines) == 1
    assert re.match(f"error: {message}", lines[0]), lines[0]
    assert ended.out == ""
    assert files(cluster) == before
    if name not in ("finished", "queued", "running sweep", "unwritable folder", "a sweep in a run"):
        assert not (cluster / "runs").exists()


def test_a_run_that_trains_is_not_submitted(call, cluster):
    folder = occupied(cluster)
    with open_lock(folder / ".lock") as lock:
        lock_file(lock, "busy")
        ended = call(*ARGUMENTS)
    assert (ended.code, ended.err) == (
        2,
        f"error: {folder}: a process trains in it; wait until it ends, or choose another --run\n",
    )


@pytest.mark.slow
def test_what_the_experiment_refuses_is_refused_before_the_job(cluster):
    """The experiment itself is built here: a mesh of 3 does not fit 2 nodes, and a flag may be unknown."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for flag, message in (
        ("--config.mesh.data=3", "error: --config.mesh.data: got 3"),
        ("--config.sede=1", "error: --config.sede: no such flag"),
    ):
        command = [sys.executable, "-m", "dlcore.launch.slurm", "--nodes=2", *ARGUMENTS, flag]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1].startswith(message), ended.stderr
    assert not (cluster / "runs").exists()


def test_the_launcher_starts_without_jax():
    found = "import sys, dlcore.launch.slurm; print('jax' in sys.modules, 'numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]


MANY = ["--runs=runs.txt", "--workers=3", "--gpus_per_task=1", "--", "experiments.adding", "--run=many"]


@pytest.fixture
def first(monkeypatch):
    """The flags of the first run, which is checked, and the number of devices."""
    found = []
    check = lambda series, devices: found.append((series.runs[0].arguments, devices))
    monkeypatch.setattr(slurm, "check_first", check)
    return found


def test_the_script_of_workers_for_many_runs_is_printed(call, cluster, first):
    pytest.importorskip("distributed")
    (cluster / "runs.txt").write_text("--config.seed=1\n--config.seed=2")
    ended = call("--dry_run", *MANY, "--config.length=20")
    assert ended.code == 0, ended.err
    assert {"#SBATCH --array=0-2", "#SBATCH --gpus-per-node=1"} <= set(ended.out.splitlines())
    folder = cluster / "runs" / "adding" / "many"
    assert f"dlcore.launch.series.worker --scheduler={folder}/cluster/scheduler.json)" in ended.out
    assert first == [(("--config.length=20", "--config.seed=1"), 1)]
    assert files(cluster) == ["runs.txt", "states"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sweep=runs.txt"], "--sweep: got --runs too, expected one of them"),
        (["--nodes=2"], "--nodes: got 2 with --runs, expected 1: a worker is one process"),
        (["--workers=0"], "--workers: got 0, expected a number >= 1"),
        ([], r"--runs: runs.txt:2: --config.sed: no such flag"),
    ],
)
def test_mistakes_in_many_runs_are_found_before_anything_is_submitted(call, cluster, first, flags, message):
    pytest.importorskip("distributed")
    (cluster / "runs.txt").write_text("--config.seed=1\n--config.sed=2")
    ended = call("--dry_run", MANY[0], MANY[1], *flags, *MANY[2:])
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}"), ended.err
    assert files(cluster) == ["runs.txt", "states"]
