"""A worker does a run once, says how it ended, and gives up a run with which workers die."""

import json
import subprocess
import sys
import time

import pytest

import dlcore as dl
from dlcore.launch.command import Command
from dlcore.launch.series import work as work_module
from dlcore.launch.series.plan import plan_series
from dlcore.launch.series.record import RunFiles
from dlcore.launch.series.work import MOST_DEATHS, Task
from tests.helpers import many_toy
from tests.helpers.paths import ROOT


@pytest.fixture
def task(tmp_path):
    """Makes the task of a run of the toy, with flags in the form ``name=value``."""
    (tmp_path / "runs").mkdir()

    def make(*flags, mode="toy", client="client", isolate=False):
        (tmp_path / "file").write_text(" ".join(f"--config.{flag}" for flag in ("sleep=0", *flags)))
        command = Command("tests.helpers.many_toy", (f"--mode={mode}",), tmp_path)
        series = plan_series(command, tmp_path / "file")
        (run,) = series.runs
        return Task(series.module, mode, run.arguments, run.name, str(tmp_path), client, isolate)

    return make


@pytest.fixture
def work(capfd):
    """`work` with the streams of a process outside of pytest, which are the descriptors 1 and 2."""

    def call(task):
        with capfd.disabled():
            return work_module.work(task)

    return call


def files_of(task, tmp_path):
    return RunFiles(tmp_path, task.name)


def test_a_run_is_done_once_and_its_record_is_on_the_disk(work, task, tmp_path):
    done = task("seed=3", f"journal={tmp_path / 'journal'}")
    record = work(done)
    assert record.error is None
    assert record.result == {"square": 9, "third": 1.0, "nan": None, "list": [1, 2]}
    assert record.arguments == list(done.arguments)
    assert files_of(done, tmp_path).record() == record
    assert work(done) == record
    assert (tmp_path / "journal").read_text().count("begins") == 1
    assert not files_of(done, tmp_path).log.exists()


@pytest.mark.parametrize(
    ("flag", "error", "logged"),
    [
        ("end=raise", "RuntimeError: seed 0 is bad", "RuntimeError: seed 0\nis bad"),
        ("end=exit", "SystemExit: 3", "SystemExit: 3"),
    ],
)
def test_a_failure_is_one_line_and_its_traceback_is_in_the_log(work, task, tmp_path, flag, error, logged):
    failed = task(flag, f"journal={tmp_path / 'journal'}")
    for attempt in (1, 2):
        record = work(failed)
        assert (record.error, record.result) == (error, None)
        text = files_of(failed, tmp_path).log.read_text()
        assert text.count("Traceback (most recent call last)") == attempt
        assert logged in text
        assert (tmp_path / "journal").read_text().count("begins") == attempt  # what failed is tried again


def test_what_a_run_prints_is_in_its_log(work, task, tmp_path):
    printing = task("end=print")
    work(printing)
    lines = files_of(printing, tmp_path).log.read_text().splitlines()
    assert sorted(lines) == ["from a program", "printed"]


def test_settings_that_do_not_fit_the_data_are_named_by_their_flag(work, task):
    record = work(task("train.batch_size=41", mode="train"))
    assert record.error == "--config.train.batch_size: got 41, expected 1 to 40, the number of examples"


def test_an_unknown_mode_is_an_error_of_the_run(work, task):
    assert work(task(mode="toys")).error.startswith("--mode: got 'toys', expected one of train,")


def test_other_code_than_the_clients_is_noticed(work, task):
    seed, other = task("seed=1"), task("seed=2")
    mixed = Task(seed.module, seed.mode, seed.arguments, other.name, seed.series, "client")
    assert work(mixed).error.startswith("the worker reads its flags as other settings")


def test_a_run_for_which_somebody_works_is_declined(work, task, tmp_path, monkeypatch):
    monkeypatch.setattr(work_module, "LOCK_SECONDS", 0.1)
    busy = task()
    with files_of(busy, tmp_path).locked(0):
        assert work(busy) is None
    assert work(busy).error is None


def test_a_run_whose_workers_die_is_given_up_and_a_new_client_tries_again(work, task, tmp_path):
    killing = task("end=kill")
    call = f"from dlcore.launch.series.work import *; work({killing!r})"
    for _ in range(MOST_DEATHS):
        assert subprocess.run([sys.executable, "-c", call], cwd=ROOT).returncode == -9
    record = work(killing)
    assert record.error == "given up: its worker died 3 times in this run; --isolate tells how"
    assert files_of(killing, tmp_path).record() == record
    with files_of(killing, tmp_path).locked(0) as attempts:
        assert attempts.begin("client") == 0


def test_training_has_the_results_of_train_and_is_loaded_from_its_folder(work, task, tmp_path):
    training = task("seed=3", "train.steps=6", mode="train")
    record = work(training)
    config = many_toy.Config(seed=3, sleep=0)
    config.train.steps = 6
    trained = dl.train(many_toy.experiment, config, tmp_path / "alone")
    assert {name: record.result[name] for name in trained.evaluation} == trained.evaluation
    folder = files_of(training, tmp_path).folder
    assert json.loads((folder / "result.json").read_text()) == record.result
    assert dl.load(folder, "newest").step == 6
    assert "step 6/6" in files_of(training, tmp_path).log.read_text()


def test_programs_are_dropped_after_a_while(monkeypatch):
    dropped = []
    monkeypatch.setattr(work_module.jax, "clear_caches", lambda: dropped.append(time.monotonic()))
    loaded = work_module._Loaded("tests.helpers.many_toy")
    loaded.drop_programs()
    assert not dropped
    monkeypatch.setattr(work_module, "CLEAR_SECONDS", -1)
    loaded.drop_programs()
    assert len(dropped) == 1
