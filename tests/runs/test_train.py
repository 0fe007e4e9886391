"""Training as a function: what it returns and writes, that it goes on, and that it may be called again and again."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.runs import train as train_module
from dlcore.runs.train import train_run
from dlcore.training import loop
from dlcore.training.faults.signals import Interrupted
from dlcore.training.run import Run
from dlcore.training.run_folder import claim_folder
from tests.helpers import plain_toy, toy
from tests.helpers.checkpoints import fake_checkpoint, read_files
from tests.helpers.paths import ROOT


def assert_same_bits(one, other):
    """Two trainings have the same state and the same table of metrics, to the bit."""
    assert (one.folder / "metrics.csv").read_bytes() == (other.folder / "metrics.csv").read_bytes()
    for leaf, same in zip(*(jax.tree.leaves(trained.state) for trained in (one, other)), strict=True):
        assert np.asarray(leaf).tobytes() == np.asarray(same).tobytes()


def test_it_returns_what_the_folder_holds(trained):
    stored = json.loads((trained.folder / "result.json").read_text())
    assert trained.evaluation == {"loss": stored["loss"]}
    assert trained.model.step == stored["steps"] == int(trained.state.step) == 12
    assert trained.metrics["eval/loss"].steps.tolist() == [6, 12]
    assert trained.metrics["eval/loss"].values[-1] == stored["loss"]
    assert set(trained.figures) == {"learning_curves"}
    assert (trained.folder / "figures" / "learning_curves.png").is_file()
    assert repr(trained).startswith(f"Trained(folder='{trained.folder}', step=12, loss=")


def test_a_finished_run_is_read_again_and_nothing_is_written(trained, capsys):
    before = read_files(trained.folder)
    again = dl.train(plain_toy.experiment, plain_toy.Config(), str(trained.folder))
    assert "finished already" in capsys.readouterr().err
    assert again.evaluation == trained.evaluation
    assert_same_bits(again, trained)
    changed = {name for name, content in read_files(trained.folder).items() if before[name] != content}
    assert changed == set()


@pytest.mark.slow
def test_calls_in_one_process_give_the_bits_of_processes_of_their_own(tmp_path):
    """BatchNorm, dropout, convolutions; the second call follows one with another seed."""
    command = [sys.executable, "-m", "tests.helpers.toy", f"--workdir={tmp_path / 'process'}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    trainings = [
        dl.train(toy.experiment, toy.Config(seed=seed), tmp_path / str(index))
        for index, seed in enumerate((0, 1, 0))
    ]
    of_process = dl.train(toy.experiment, toy.Config(), tmp_path / "process")
    assert_same_bits(trainings[0], of_process)
    assert_same_bits(trainings[2], of_process)
    assert trainings[1].evaluation != of_process.evaluation


class InterruptingData(dl.data.ShuffledBatches):
    """Sends Ctrl-C to the process when the batch of step 7 is made for the first time."""

    sent = False

    def __getitem__(self, step):
        if step == 7 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(step)


def test_ctrl_c_saves_the_state_and_a_call_in_another_thread_ends_with_the_same_bits(trained, tmp_path):
    config, handler = plain_toy.Config(), signal.getsignal(signal.SIGINT)
    experiment = plain_toy.experiment(config)
    data = InterruptingData(plain_toy.arrays(), config.train.batch_size, config.seed)
    interrupting = dataclasses.replace(experiment, train_data=data)
    with pytest.raises(KeyboardInterrupt) as stop:
        dl.train(interrupting, config, tmp_path / "run")
    assert isinstance(stop.value, Interrupted)
    assert (tmp_path / "run" / "checkpoints" / str(stop.value.step)).is_dir()
    assert signal.getsignal(signal.SIGINT) is handler
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(dl.train, experiment, config, tmp_path / "run").result()
    assert_same_bits(again, trained)


def test_a_run_with_other_settings_and_a_busy_folder_are_refused(trained):
    with pytest.raises(ValueError, match=r"holds a run with other settings: --config\.seed=1 \(was 0\)"):
        dl.train(plain_toy.experiment, plain_toy.Config(seed=1), trained.folder)
    with (
        claim_folder(trained.model.run),
        pytest.raises(BlockingIOError, match="another process or thread trains in this folder"),
    ):
        dl.train(plain_toy.experiment, plain_toy.Config(), trained.folder)


def test_without_a_folder_there_is_a_new_one_named_after_the_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = []

    def stop(run):
        started.append(run)
        raise ZeroDivisionError

    monkeypatch.setattr(train_module, "train_run", stop)
    for experiment in (plain_toy.experiment, plain_toy.experiment, plain_toy.experiment(plain_toy.Config())):
        with pytest.raises(ZeroDivisionError):
            dl.train(experiment, plain_toy.Config())
    assert len({run.folder for run in started}) == 3
    assert [run.folder.parent.as_posix() for run in started[:2]] == ["runs/plain_toy"] * 2
    assert all((run.folder / "config.json").is_file() for run in started)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"experiment": None}, TypeError, "experiment: got None"),
        ({"config": None}, TypeError, "config: got None"),
        ({"folder": 3}, TypeError, "folder: got 3, expected a path"),
        ({"folder": ""}, ValueError, "folder: got an empty text"),
        ({"callbacks": 3}, TypeError, "callbacks: got 3, expected a list of callbacks"),
    ],
)
def test_a_bad_argument_is_named(tmp_path, arguments, error, message):
    good = {"experiment": plain_toy.experiment, "config": plain_toy.Config(), "folder": tmp_path / "run"}
    with pytest.raises(error, match=f"^{message}"):
        dl.train(**good | arguments)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def run(tmp_path):
    config = plain_toy.Config()
    return Run(plain_toy.experiment(config), config, tmp_path)


def test_a_run_that_a_callback_stopped_is_finished(run, capsys, monkeypatch):
    stopped = loop.TrainingResult(SimpleNamespace(step=6), {"loss": 0.5}, 1.25, "enough")
    monkeypatch.setattr(loop, "train", lambda engine, folder, profile: stopped)
    monkeypatch.setattr(loop, "model_on_host", lambda engine, state: (None, None))
    fake_checkpoint(run.folder, 6)
    result = train_run(run).result
    assert result == {"loss": 0.5, "steps": 6, "seconds": 1.25, "stopped": "enough"}
    assert json.loads((run.folder / "result.json").read_text()) == result
    before = read_files(run.folder)
    assert train_run(run) == (result, None)
    assert "finished already, stopped by a callback: enough" in capsys.readouterr().err
    assert read_files(run.folder) == before


def test_a_metric_that_was_not_finite_is_nan_again(trained, tmp_path):
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "other": None, "f1": [0.5, None]}))
    again = dl.train(plain_toy.experiment, plain_toy.Config(), folder)
    assert again.evaluation["loss"] == trained.evaluation["loss"]
    assert np.isnan(again.evaluation["other"])
    np.testing.assert_array_equal(again.evaluation["f1"], [0.5, np.nan])
    assert repr(again).endswith(", other=nan)")
