"""Runs wait for a place, are bound to a core, go on in their folders, and say how long the rest takes."""

import os

import pytest

from benchmarks import run_queue
from benchmarks.entry import Entry
from benchmarks.run_queue import Queue, RunError, Task, folder_of, log_of

FAKE = Entry("fake", "fake_run", module="tests.helpers.")


def test_runs_beside_each_other_have_one_core_each_and_their_own_seeds(tmp_path):
    tasks = [Task(FAKE, seed) for seed in range(3)]
    found = dict(Queue(tmp_path, tasks, 2, {}).run())
    assert [found[task]["accuracy"] for task in tasks] == [0.5, 0.6, 0.7]
    if len(os.sched_getaffinity(0)) > 1:
        assert {found[task]["cores"] for task in tasks} == {1}
        (alone,) = dict(Queue(tmp_path, tasks[:1], 1, {}).run()).values()
        assert alone["cores"] == len(os.sched_getaffinity(0))


def test_a_run_that_fails_is_an_error_with_its_last_lines(tmp_path):
    task = Task(FAKE._replace(arguments="fake_run --fail"), 1)
    ((_, error),) = Queue(tmp_path, [task], 1, {}).run()
    assert isinstance(error, RunError)
    assert str(error).startswith("python -m tests.helpers.fake_run --fail --config.seed=1 ended with 1:\n")
    assert str(error).endswith("step 20/40  loss 0.5\nerror: no data")


def test_another_command_has_another_folder(tmp_path):
    task = Task(FAKE, 0)
    changed = Task(FAKE._replace(arguments="fake_run --config.a=1"), 0)
    assert folder_of(tmp_path, task) != folder_of(tmp_path, changed)
    assert folder_of(tmp_path, task).name.startswith("fake-0-")


def test_the_status_says_what_runs_and_how_long_the_rest_takes(tmp_path, monkeypatch):
    """One of four runs is done in 100 s, one is at half of its steps after 60 s, and nothing is known of the last."""
    tasks = [Task(FAKE._replace(name=name), 0) for name in ("done", "half", "waits", "unknown")]
    queue = Queue(tmp_path, tasks, 1, {"waits": 380.0})
    assert Queue(tmp_path, tasks, 1, {}).status().endswith("the time left is not known yet")
    queue.seconds["done"], queue.done = 100.0, 1
    monkeypatch.setattr(run_queue.time, "monotonic", lambda: 1060.0)
    queue.began[tasks[1]] = 1000.0
    log_of(tmp_path, tasks[1]).write_text("step 10/40  loss 1\nstep 20/40  loss 1\nfigure: x")
    left = 60 + 380 + (100 + 120 + 380) / 3
    assert queue.status() == f"1 of 4 runs done; half 0: 50%; about {left / 60:.0f} min left"


def test_an_unknown_error_is_raised(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no disk")

    monkeypatch.setattr(run_queue, "run", fail)
    with pytest.raises(OSError, match="no disk"):
        list(Queue(tmp_path, [Task(FAKE, 0)], 1, {}).run())
