"""The loop: a run that was stopped and resumed equals a run that never stopped, to the bit; faults leave it whole."""

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dlcore.training import loop
from dlcore.training.callbacks.callback import Callback, Stop
from dlcore.training.callbacks.run_callbacks import CallbackError
from dlcore.training.checkpoints import manager
from dlcore.training.checkpoints.checksums import find_damage
from dlcore.training.checkpoints.disk import CheckpointError
from dlcore.training.checkpoints.folder import read_callbacks, saved_steps
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate
from dlcore.training.run import Run
from dlcore.training.telemetry import recorder
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers.bits import assert_same_bits
from tests.helpers.paths import ROOT
from tests.helpers.plain_toy import Config, experiment, interrupting, make_engine


def newest(folder):
    return max(saved_steps(folder / "checkpoints"))


def make(**train):
    """The engine of all these runs, which share their compiled programs: dropout and a moving average are on."""
    return make_engine(dropout=0.5, ema_decay=0.9, **train)


def train(folder, engine=None, **settings):
    folder.mkdir(exist_ok=True)
    return loop.train(engine or make(**settings), folder)


def values_of(folder, name):
    return {step: value for step, found, value in read_metrics(folder / "metrics.csv") if found == name}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps that never stopped, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return train(folder), folder


def assert_equals_whole(finished, folder, whole):
    assert_same_bits(finished.state, whole[0].state)
    assert finished.evaluation == whole[0].evaluation
    assert (folder / "metrics.csv").read_bytes() == (whole[1] / "metrics.csv").read_bytes()


def test_a_run_that_is_made_longer_equals_one_that_never_stopped(tmp_path, whole):
    engine = make(steps=6)
    train(tmp_path, engine)
    assert len(engine._programs) == engine.eval_step._cache_size() == 1
    resumed = make()  # from a restored state, nothing is compiled twice either
    assert_equals_whole(train(tmp_path, resumed), tmp_path, whole)
    assert len(resumed._programs) == resumed.eval_step._cache_size() == 1


@pytest.mark.parametrize(
    ("stop", "signal_number", "exit_code"),
    [
        (5, signal.SIGINT, 130),
        (7, signal.SIGTERM, 75),
        pytest.param(1, signal.SIGUSR1, 75, marks=pytest.mark.slow),
        pytest.param(10, signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_a_signal_stopped_continues_to_the_same_bits(
    tmp_path, whole, stop, signal_number, exit_code
):
    """Also between two rows of the log: the sums of the metrics are part of the state."""
    handler = signal.getsignal(signal_number)
    name = "Ctrl-C" if signal_number == signal.SIGINT else signal_number.name
    with pytest.raises(loop.Interrupted, match=f"stopped by {name} after step") as stopped:
        train(tmp_path, interrupting(make(), stop, signal_number))
    assert signal.getsignal(signal_number) is handler
    assert newest(tmp_path) == stopped.value.step < 12
    assert stopped.value.exit_code == exit_code
    assert_equals_whole(train(tmp_path), tmp_path, whole)


def test_a_finished_run_is_only_evaluated_again(tmp_path, whole):
    rows = (whole[1] / "metrics.csv").read_bytes()
    again = train(whole[1])
    assert_same_bits(again.state, whole[0].state)
    assert again.evaluation == whole[0].evaluation
    assert (whole[1] / "metrics.csv").read_bytes() == rows


def test_the_result_is_of_the_last_state_and_the_best_checkpoint_stays(tmp_path):
    engine = make(eval_every=3)
    engine.config.checkpoint.every, engine.config.checkpoint.keep = 3, 1
    finished = train(tmp_path, engine)
    scores = values_of(tmp_path, "eval/loss")
    assert finished.evaluation["loss"] == scores[12]
    best = min(scores, key=lambda step: scores[step])
    assert set(saved_steps(tmp_path / "checkpoints")) == {12, best}
    run = Run(engine.experiment, engine.config, tmp_path, "best")
    state = loop.restore_model(run)
    assert int(state.step) == best
    assert evaluate(engine, state)["loss"] == pytest.approx(scores[best], rel=1e-6)


SCORES = {30: 0.5, 60: 0.1, 90: 0.3, 120: 0.2}


@pytest.fixture
def scored(monkeypatch):
    """Evaluations give the losses of `SCORES`."""
    evaluated = lambda engine, state, on_batch: {"loss": SCORES[int(jax.device_get(state.step))]}
    monkeypatch.setattr(recorder, "evaluate", evaluated)


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(
    "stop", [None, 70, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (50, 95))]
)
def test_the_best_evaluation_has_a_checkpoint_and_best_means_it(tmp_path, stop):
    """Also if it is between two checkpoints, and if the run was stopped before or after it."""
    engine = make_engine(steps=120, eval_every=30, log_every=60, steps_per_call=5)
    engine.config.checkpoint.every, engine.config.checkpoint.keep = 40, 1
    if stop is not None:
        with pytest.raises(loop.Interrupted):
            train(tmp_path, interrupting(engine, stop, signal.SIGTERM))
    train(tmp_path, engine)
    assert saved_steps(tmp_path / "checkpoints") == [60, 120]
    run = Run(engine.experiment, engine.config, tmp_path, "best")
    assert int(loop.restore_model(run).step) == 60


@pytest.mark.usefixtures("scored")
def test_only_a_better_evaluation_than_all_before_is_saved(tmp_path, monkeypatch):
    saved, save = [], manager.Checkpoints.save
    monkeypatch.setattr(
        manager.Checkpoints, "save", lambda self, step, *rest: saved.append(step) or save(self, step, *rest)
    )
    engine = make_engine(steps=120, eval_every=30, log_every=60, steps_per_call=5)
    engine.config.checkpoint.every = 40
    with pytest.raises(loop.Interrupted) as stopped:
        train(tmp_path, interrupting(engine, 77, signal.SIGTERM))
    train(tmp_path, engine)
    assert saved == list(dict.fromkeys([30, 40, 60, stopped.value.step, 80, 120]))


FALLING = {step: 1 - step / 1000 if step < 30 else 1.0 for step in range(10, 130, 10)}


def stopping_engine(monkeypatch, *callbacks):
    """An engine whose loss falls until step 20, so that it stops at step 50."""
    evaluated = lambda engine, state, on_batch: {"loss": FALLING[int(jax.device_get(state.step))]}
    monkeypatch.setattr(recorder, "evaluate", evaluated)
    monkeypatch.setattr(loop, "evaluate", evaluated)
    config = Config()
    config.train = dataclasses.replace(config.train, steps=120, eval_every=10, log_every=15, steps_per_call=5)
    config.checkpoint.every, config.stop.patience = 40, 3
    return Engine(dataclasses.replace(experiment(config), callbacks=callbacks), config)


class Copies(Callback):
    """Copies the run's folder as a kill at this moment would leave it."""

    def on_start(self, start):
        self.run = start.folder

    def on_evaluation(self, step, values):
        shutil.copytree(self.run, f"{self.run}_{step}", ignore=shutil.ignore_patterns("*-tmp"))


@pytest.mark.parametrize(
    ("signals", "kills"), [([37], [50]), pytest.param([12, 44], [20, 40], marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_early_after_a_signal_or_a_kill_ends_at_the_same_step_with_the_same_bits(
    tmp_path, monkeypatch, signals, kills
):
    engine = stopping_engine(monkeypatch, Copies())
    whole = train(tmp_path / "whole", engine), tmp_path / "whole"
    assert (int(whole[0].state.step), whole[0].evaluation) == (50, {"loss": 1.0})
    assert whole[0].stopped == "loss has not become lower in 3 evaluations; the best was 0.98 at step 20"
    engine = stopping_engine(monkeypatch)
    for step in signals:
        folder = tmp_path / f"signal_{step}"
        with pytest.raises(loop.Interrupted):
            train(folder, interrupting(engine, step, signal.SIGTERM))
        assert_stops_as_whole(folder, engine, whole)
    for step in kills:  # at step 50, the stop itself is not saved yet
        assert_stops_as_whole(tmp_path / f"whole_{step}", engine, whole)
    assert_stops_as_whole(tmp_path / "whole", engine, whole)  # it had ended before


def assert_stops_as_whole(folder, engine, whole):
    again = train(folder, engine)
    assert again.stopped == whole[0].stopped
    assert_equals_whole(again, folder, whole)
    saved = [read_callbacks(path / "checkpoints" / "50") for path in (folder, whole[1])]
    assert saved[0] == saved[1]
    assert saved[0]["states"]["EarlyStopping"] == {"best": 0.98, "best_step": 20, "waited": 3}


class FailsAtRow(Callback):
    def on_row(self, step, values, clock):
        if step == 9:
            raise ZeroDivisionError("by hand")


def test_a_callback_that_fails_leaves_the_state_of_its_step_and_the_run_goes_on_to_the_same_bits(
    tmp_path, whole
):
    engine = make()
    failing = Engine(dataclasses.replace(engine.experiment, callbacks=[FailsAtRow()]), engine.config)
    with pytest.raises(
        CallbackError, match=r"got ZeroDivisionError from FailsAtRow.on_row at step 9: by hand"
    ):
        train(tmp_path, failing)
    assert newest(tmp_path) == 9
    assert find_damage(tmp_path / "checkpoints" / "9") is None
    assert max(step for step, _, _ in read_metrics(tmp_path / "metrics.csv")) == 9
    assert_equals_whole(train(tmp_path), tmp_path, whole)


class StopsAtRow(Callback):
    def __init__(self):
        self.seen, self.saved, self.ended = [], [], None

    def on_evaluation(self, step, values):
        self.seen.append((step, values))

    def on_checkpoint(self, step, folder):
        assert find_damage(folder) is None
        self.saved.append(step)

    def on_row(self, step, values, clock):
        if step == 9 and "train/loss" in values:
            raise Stop("far enough")

    def on_end(self, error):
        self.ended = error


def test_a_stop_evaluates_and_saves_the_state_of_its_step_and_ends_the_run(tmp_path):
    engine, callback = make(), StopsAtRow()
    stopping = Engine(dataclasses.replace(engine.experiment, callbacks=[callback]), engine.config)
    stopped = train(tmp_path, stopping)
    assert (int(stopped.state.step), stopped.stopped, callback.ended) == (9, "far enough", None)
    assert callback.saved == [6, 9]
    assert [step for step, _ in callback.seen] == [6, 9]
    assert values_of(tmp_path, "eval/loss")[9] == stopped.evaluation["loss"] == callback.seen[-1][1]["loss"]
    again = train(tmp_path)  # also without the callback
    assert (int(again.state.step), again.stopped, again.evaluation) == (9, "far enough", stopped.evaluation)


def test_a_run_that_goes_on_says_from_where_and_what_it_compiles(tmp_path, capsys):
    train(tmp_path, steps=6)
    first = capsys.readouterr().err.splitlines()
    assert first[:2] == ["compiling the initial state", "compiling the training"]
    assert first.index("compiling the evaluation") > 2
    train(tmp_path)
    assert capsys.readouterr().err.splitlines()[:2] == ["going on from step 6", "compiling the training"]


def test_a_copy_of_a_checkpoint_with_the_name_of_a_later_step_is_refused(tmp_path):
    """The run would train on from step 6, and none of its checkpoints would be saved."""
    train(tmp_path, steps=6)
    shutil.copytree(tmp_path / "checkpoints" / "6", tmp_path / "checkpoints" / "9")
    with pytest.raises(ValueError, match=r"checkpoints/9: got the state of step 6, expected that of step 9"):
        train(tmp_path)
    assert saved_steps(tmp_path / "checkpoints") == [6, 9]


def test_states_are_restored_by_the_names_of_their_checkpoints(whole):
    engine = make()
    run = lambda checkpoint: Run(engine.experiment, engine.config, whole[1], checkpoint)
    assert_same_bits(loop.restore(run("newest")), whole[0].state)
    model = loop.restore_model(run(12))
    assert (model.opt_state, model.metrics) == (None, {})
    assert_same_bits(model.params, whole[0].state.params)
    named = dict(loop.named_states(run("all")))
    assert list(named) == ["initial", "step 6", "step 12"]
    assert_same_bits(named["initial"].params, engine.initial_state().params)
    params, model_state = loop.model_on_host(engine, model)
    assert_same_bits(params, whole[0].state.average)  # the moving average is what is used
    assert isinstance(model_state["mean"], np.ndarray | np.generic)
    with pytest.raises(FileNotFoundError, match=r"^checkpoint: got 7"):
        loop.restore(run(7))


def test_the_newest_state_of_a_run_without_a_checkpoint_is_the_initial_one(tmp_path):
    engine = make()
    assert [name for name, _ in loop.named_states(Run(engine.experiment, engine.config, tmp_path))] == [
        "initial"
    ]


def test_the_metrics_are_those_of_all_steps_since_the_last_row(tmp_path):
    rows = []
    for every in (1, 12):
        train(tmp_path / str(every), log_every=every)
        rows.append(values_of(tmp_path / str(every), "train/gradient_norm"))
    assert list(rows[0]) == list(range(1, 13))
    assert rows[1] == {12: pytest.approx(np.mean(list(rows[0].values())), rel=1e-5)}


def test_a_full_disk_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    write = manager.write_checksums

    def write_or_fail(folder):
        if folder.name.startswith("12"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder)

    monkeypatch.setattr(manager, "write_checksums", write_or_fail)
    with pytest.raises(CheckpointError, match=r"the disk is full .*: step 12 was not saved, .* is of step 6"):
        train(tmp_path)
    assert newest(tmp_path) == 6
    monkeypatch.undo()
    assert int(train(tmp_path).state.step) == 12


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_run_ends_with_the_same_bits(
    tmp_path, whole, capsys
):
    train(tmp_path)
    files = (tmp_path / "checkpoints" / "12").rglob("*")
    victim = max(files, key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-7])
    assert_equals_whole(train(tmp_path), tmp_path, whole)
    assert (tmp_path / "damaged_checkpoints" / "12").is_dir()
    assert "moved to" in capsys.readouterr().err


LONG = ("--config.train.steps=1000000", "--config.train.log_every=20", "--config.checkpoint.every=500")


@contextlib.contextmanager
def started(folder: Path):
    """A long run in its own process; its output goes to a file beside its folder, since a full pipe would stop it."""
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "tests.helpers.plain_toy", f"--workdir={folder}", *LONG]
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, stderr=file, stdout=file) as process:
        try:
            yield process, log
        finally:
            process.kill()


def wait_for(process, log, text, seconds=120):
    deadline = time.monotonic() + seconds
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preempted_process_saves_its_state_and_continues_when_it_is_started_again(tmp_path, signal_number):
    folder = tmp_path / "run"
    with started(folder) as (process, log):
        wait_for(process, log, "step 40/")
        process.send_signal(signal_number)
        assert process.wait(30) == 75
        text = log.read_text()
    step = int(
        re.search(rf"stopped by {signal_number.name} after step (\d+); everything up to it is saved", text)[1]
    )
    assert newest(folder) == step
    assert find_damage(folder / "checkpoints" / str(step)) is None
    with started(folder) as (process, log):
        wait_for(process, log, f"step {step // 20 * 20 + 40}/")
        assert f"step {step // 20 * 20}/" not in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["", "run folder:"], ids=["imports", "compilation"])
def test_a_process_that_is_preempted_before_its_first_step_ends_with_the_right_code(tmp_path, moment):
    with started(tmp_path / "run") as (process, log):
        if moment:
            wait_for(process, log, moment)
        else:
            time.sleep(1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    # In the first second Python's handlers are not there yet, and the signal itself ends the process.
    assert code == 75 or (not moment and code == -signal.SIGTERM)


@pytest.mark.slow
def test_a_second_process_in_a_runs_folder_is_refused_and_harms_nothing(tmp_path):
    folder = tmp_path / "run"
    with started(folder) as (process, log):
        wait_for(process, log, "step 20/")
        second = subprocess.run(
            [sys.executable, "-m", "tests.helpers.plain_toy", f"--workdir={folder}", *LONG],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert second.returncode == 2
        assert f"{folder}: another process or thread trains in this folder" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        rows = log.read_text().count("step ")
        time.sleep(0.5)
        assert process.poll() is None
        assert log.read_text().count("step ") > rows
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with started(folder) as (process, log):  # a killed process holds no lock
        wait_for(process, log, "steps/s")
