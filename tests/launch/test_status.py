"""`launch/status`: which runs a name means, and what the table says of each."""

import json
import os
import subprocess
import sys

import pytest

from dlcore.launch.launcher import run_launcher
from dlcore.launch.run_state import RunState, write_job
from dlcore.launch.slurm_queue import JobState
from dlcore.launch.status import COLUMNS, find_runs, row_of, show


def make_run(folder, step=5, steps=10):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"train": {"steps": steps}}))
    (folder / "metrics.csv").write_text(f"step,name,value\n{step},train/loss,0.25\n")
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of one experiment and one of another, a sweep of runs, and other files; the present folder."""
    monkeypatch.chdir(tmp_path)
    for path in ("runs/adding/a", "runs/adding/b", "runs/digits/a"):
        make_run(tmp_path / path)
    sweep = tmp_path / "runs" / "adding" / "sweep"
    (sweep / "launch").mkdir(parents=True)
    for index in (10, 9):
        write_job(sweep / str(index), f"3_{index}", sweep / "launch" / "log")
    (tmp_path / "runs" / "adding" / "other").mkdir()
    return tmp_path


def names(found):
    return [str(path) for path in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("runs/adding/a", ["runs/adding/a"]),
        ("runs/*/a", ["runs/adding/a", "runs/digits/a"]),
        ("a", ["runs/adding/a", "runs/digits/a"]),
        ("b", ["runs/adding/b"]),
        ("runs/adding/*", ["runs/adding/a", "runs/adding/b", "runs/adding/sweep/9", "runs/adding/sweep/10"]),
        ("sweep", ["runs/adding/sweep/9", "runs/adding/sweep/10"]),
    ],
)
def test_a_name_means_a_folder_a_pattern_or_a_run(runs, name, expected):
    assert names(find_runs(name)) == expected


@pytest.mark.parametrize("name", ["none", "runs/adding/other", "runs/none/*", "", "runs"])
def test_a_name_of_no_run_is_refused(runs, name):
    with pytest.raises(ValueError, match="got no run, expected a run's folder"):
        find_runs(name)


def test_a_name_with_a_star_is_a_folder_first(runs):
    make_run(runs / "runs" / "adding" / "[a]*")
    assert names(find_runs("runs/adding/[a]*")) == ["runs/adding/[a]*"]


def state(**changed):
    values = {"finished": False, "trains": False, "step": 5, "steps": 10, "loss": 0.25, "speed": 0.5}
    return RunState("runs/a/b", **(values | changed))


@pytest.mark.parametrize(
    ("run", "job", "states", "row"),
    [
        (state(), None, {}, ("stopped", "-", "-", "5/10", "0.25", "-", "")),
        (state(trains=True), None, None, ("running", "-", "-", "5/10", "0.25", "10 s", "")),
        (state(trains=True, speed=None), None, {}, ("running", "-", "-", "5/10", "0.25", "-", "")),
        (state(trains=True, steps="5epochs"), None, {}, ("running", "-", "-", "5/5epochs", "0.25", "-", "")),
        (state(finished=True, step=10), None, {}, ("finished", "-", "-", "10/10", "0.25", "-", "")),
        (
            state(step=0, steps=None, loss=None),
            "7",
            {"7": JobState("PENDING", "Resources", 0)},
            ("pending", "7", "0", "-", "-", "-", "Resources"),
        ),
        (
            state(),
            "7",
            {"7": JobState("RUNNING", "None", 2)},
            ("running", "7", "2", "5/10", "0.25", "10 s", ""),
        ),
        (
            state(),
            "7",
            {"7": JobState("FAILED", "NonZeroExitCode", 0)},
            ("failed", "7", "0", "5/10", "0.25", "-", "NonZeroExitCode"),
        ),
        (state(), "7", {}, ("stopped", "7", "-", "5/10", "0.25", "-", "the job is gone")),
        (state(trains=True), "7", {}, ("running", "7", "-", "5/10", "0.25", "10 s", "")),
        (state(), "7", None, ("stopped", "7", "-", "5/10", "0.25", "-", "Slurm is not on this machine")),
        (state(finished=True), "7", {}, ("finished", "7", "-", "5/10", "0.25", "-", "")),
        (
            state(finished=True),
            "7",
            {"7": JobState("RUNNING", "None", 0)},  # it trains on, or measures
            ("running", "7", "0", "5/10", "0.25", "10 s", ""),
        ),
    ],
)
def test_the_row_of_a_run(run, job, states, row):
    assert row_of(run, job, states) == ("runs/a/b", *row)


def test_the_table_has_every_run(runs, monkeypatch, capsys):
    monkeypatch.setattr("dlcore.launch.status.has_slurm", lambda: False)
    assert show([]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert tuple(header.split()) == COLUMNS
    assert [line.split()[0] for line in lines] == [
        *("runs/adding/a", "runs/adding/b", "runs/adding/sweep/9", "runs/adding/sweep/10", "runs/digits/a")
    ]
    assert show(["a", "runs/adding/a"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_no_runs_are_an_empty_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert show([]) == 0
    assert capsys.readouterr().out.split() == list(COLUMNS)


def test_an_unknown_run_is_a_line_and_exit_code_2(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["launch/status", "none"])
    with pytest.raises(SystemExit) as stop:
        run_launcher([], show)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: none: got no run")


def test_the_table_is_made_without_jax(runs):
    program = "import sys; from dlcore.launch.status import show; show([]); print('jax' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PATH": ""}
    )
    assert ended.stdout.splitlines()[-1] == "False", ended.stderr
