"""Workers in Slurm's queue: as many as there are runs to do, new ones for those that are lost, none at the end."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlcore.launch import slurm_workers
from dlcore.launch.series.clusters import ClusterError
from dlcore.launch.slurm_job import SlurmJob, TimeLimit
from dlcore.launch.slurm_queue import JobState
from dlcore.launch.slurm_workers import SlurmWorkers, WorkerQueue, check_workers, render_workers

GOLDEN = Path(__file__).parent / "golden" / "workers.sh"


def test_the_script_is_the_one_that_was_reviewed(monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", "/project")
    job = SlurmJob(time=TimeLimit("1:00:00"), gpus_per_task=1, python="/venv/bin/python")
    assert render_workers(job, Path("/shared/runs/adding/many"), range(4, 24)) == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("changes", "workers", "message"),
    [
        ({}, None, "--workers: got None, expected a number >= 1"),
        ({}, 0, "--workers: got 0, expected a number >= 1"),
        ({"nodes": 2}, 3, "--nodes: got 2 with --runs, expected 1: a worker is one process"),
        ({"tasks_per_node": 2}, 3, "--tasks_per_node: got 2 with --runs, expected 1"),
    ],
)
def test_a_worker_is_one_process(changes, workers, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_workers(SlurmJob(**changes), workers)
    assert check_workers(SlurmJob(), 3) == 3


@pytest.fixture
def slurm(monkeypatch):
    """A queue of Slurm that takes every array; a test says which of its jobs are alive."""
    found = SimpleNamespace(submitted=[], cancelled=[], alive=0)

    def submit(script, folder):
        assert folder.is_dir()
        found.submitted.append(script)
        return str(len(found.submitted))

    def read_states(jobs):
        states = ["RUNNING"] * found.alive + ["CANCELLED"]
        return {f"{jobs}_{index}": JobState(state, "None", 0) for index, state in enumerate(states)}

    monkeypatch.setattr(slurm_workers, "submit", submit)
    monkeypatch.setattr(slurm_workers, "read_states", read_states)
    monkeypatch.setattr(slurm_workers, "cancel", lambda jobs: found.cancelled.extend(jobs))
    monkeypatch.setattr(slurm_workers, "LOOK_SECONDS", -1)
    return found


def queue(tmp_path):
    return WorkerQueue(
        tmp_path / "jobs.json", tmp_path / "launch", lambda indices: f"{indices.start}-{indices.stop - 1}"
    )


def test_arrays_have_indices_of_their_own_and_are_cancelled_together(slurm, tmp_path, capsys):
    workers = queue(tmp_path)
    workers.add(20)
    workers.add(3)
    assert slurm.submitted == ["0-19", "20-22"]
    assert (tmp_path / "launch" / "workers.sh").read_text() == "20-22"
    assert capsys.readouterr().err.splitlines()[0] == f"job 1: 20 workers; logs: {tmp_path / 'launch'}"
    assert json.loads((tmp_path / "jobs.json").read_text()) == {"jobs": ["1", "2"]}
    workers.cancel()
    assert slurm.cancelled == ["1", "2"]
    assert not (tmp_path / "jobs.json").exists()


def test_workers_of_a_client_that_was_killed_are_cancelled(slurm, tmp_path):
    queue(tmp_path).add(20)
    queue(tmp_path).cancel()
    assert slurm.cancelled == ["1"]


def client(doing):
    found = SimpleNamespace(retired=[], processing=lambda: doing)
    found.retire_workers = found.retired.extend
    return found


def test_lost_workers_are_replaced_while_there_are_runs(slurm, tmp_path):
    workers = queue(tmp_path)
    workers.add(4)
    cluster = SlurmWorkers(client({}), workers, 4, adaptive=True)
    slurm.alive = 4
    cluster.adjust(100)
    assert len(slurm.submitted) == 1
    slurm.alive = 1
    cluster.adjust(100)
    cluster.adjust(2)
    assert slurm.submitted == ["0-3", "4-6", "7-7"]
    cluster.adjust(1)
    assert len(slurm.submitted) == 3


def test_workers_that_end_again_and_again_are_an_error(slurm, tmp_path):
    workers = queue(tmp_path)
    workers.add(2)
    cluster = SlurmWorkers(client({}), workers, 2, adaptive=True)
    for _ in range(20):
        cluster.adjust(5)
    assert workers.submitted == 42
    with pytest.raises(ClusterError, match="workers end again and again; their logs tell why"):
        cluster.adjust(5)


def test_a_slurm_that_does_not_answer_is_said_once_and_asked_again(slurm, tmp_path, monkeypatch, capsys):
    def fail(jobs):
        raise ValueError("squeue: got no answer in 60 s")

    workers = queue(tmp_path)
    cluster = SlurmWorkers(client({}), workers, 4, adaptive=True)
    answer = slurm_workers.read_states
    monkeypatch.setattr(slurm_workers, "read_states", fail)
    cluster.adjust(5)
    cluster.adjust(5)
    assert capsys.readouterr().err == "squeue: got no answer in 60 s; it is tried again\n"
    monkeypatch.setattr(slurm_workers, "read_states", answer)
    cluster.adjust(5)
    assert slurm.submitted == ["0-3"]


@pytest.mark.parametrize(
    ("remaining", "adaptive", "retired"),
    [(4, True, []), (3, True, ["b"]), (1, True, ["b", "d"]), (1, False, [])],
)
def test_workers_without_a_run_go(slurm, tmp_path, remaining, adaptive, retired):
    doing = {"a": ("x",), "b": (), "c": ("y",), "d": ()}
    slurm.alive = 4
    found = client(doing)
    SlurmWorkers(found, queue(tmp_path), 4, adaptive).adjust(remaining)
    assert found.retired == retired


def test_slurm_is_not_asked_too_often(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_workers, "LOOK_SECONDS", 60)
    SlurmWorkers(client({}), queue(tmp_path), 4, adaptive=True).adjust(100)
    assert slurm.submitted == []
