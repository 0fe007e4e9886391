"""Inspections as a function: what they find, that nothing is written, and what they refuse."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.runs import inspect as module
from dlcore.runs.inspect import check_start
from dlcore.training.run import Run
from tests.helpers import plain_toy


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(Path().iterdir()) == []


def test_an_inspection_of_this_machine_has_the_numbers_of_the_run():
    config = plain_toy.Config(seed=3)
    found = dl.inspect(plain_toy.experiment, config)
    assert isinstance(found, dl.Inspection)
    assert found.problem is None
    assert found.target.devices == tuple(jax.devices())
    assert found.mesh == {"data": len(jax.devices()), "model": 1}
    sources = {setting.path: (setting.text, setting.source) for setting in found.settings}
    assert sources["seed"] == ("3", "config")
    assert sources["train.batch_size"] == ("8", "default")
    assert [step.name for step in found.steps] == ["training", "evaluation"]
    assert found.result["parameters"] == 12
    assert repr(found) == found.text


def test_without_compiling_all_but_the_steps_is_there(monkeypatch):
    monkeypatch.setattr(module, "compile_steps", None)
    found = dl.inspect(plain_toy.experiment, plain_toy.Config(), "cpu:1", compile=False)
    assert found.steps == ()
    assert found.target.name == "cpu:1"
    assert {field.name for field in found.batches} == {"inputs", "lengths", "targets", "mask"}
    assert [part.name for part in found.state][-1] == "batch"
    assert "fits" not in found.text


def test_an_experiment_itself_is_inspected():
    config = plain_toy.Config()
    found = dl.inspect(plain_toy.experiment(config), config, compile=False)
    assert [parameter.path for parameter in found.parameters] == ["bias", "weights"]


def test_a_target_must_be_used_whole():
    config = plain_toy.Config(mesh=dl.MeshConfig(data=2))
    message = (
        r"^--config\.mesh\.data: got 2 with --config\.mesh\.model=1, expected a product of 1, the number of devices of "
        "--target=cpu:1; choose a mesh of all its devices, or another target"
    )
    with pytest.raises(ValueError, match=message):
        dl.inspect(plain_toy.experiment, config, "cpu:1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": "nowhere"}, "init_from: got nowhere, expected a run's folder"),
        ({"seed": -1}, "--config.seed: got -1, expected"),
        ({"init_map": ("a=b",)}, "init_map: got .* without init_from"),
    ],
)
def test_what_a_training_refuses_is_refused(changes, message):
    config = dataclasses.replace(plain_toy.Config(), **changes)
    with pytest.raises(ValueError, match=message):
        dl.inspect(plain_toy.experiment, config, compile=False)


def test_a_checkpoint_that_does_not_fit_is_refused_without_reading_its_values(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("run")
    config = plain_toy.Config()
    config.train = dataclasses.replace(config.train, steps=1)
    dl.train(plain_toy.experiment, config, folder)
    monkeypatch.setattr("dlcore.training.checkpoints.fine_tune.restore_leaves", None)
    run = Run(plain_toy.experiment(config), dataclasses.replace(config, init_from=str(folder)), Path())
    check_start(run)
    other = {"bias": np.zeros(3, np.float32), "weights": np.zeros((2, 3), np.float32)}
    experiment = dataclasses.replace(
        plain_toy.experiment(config),
        init=lambda rng, batch: (other, {"average": np.zeros(())}),
        loss=lambda params, state, batch, rng, train: (
            params["bias"].sum(),
            (state, {"loss": dl.metrics.Average.of(params["bias"])}),
        ),
    )
    with pytest.raises(ValueError, match=r"init_from: got .* expected some of this model's"):
        check_start(Run(experiment, dataclasses.replace(config, init_from=str(folder)), Path()))


def test_a_logger_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(
        "dlcore.training.engine.all_callbacks", lambda *_: (_ for _ in ()).throw(ImportError("wandb"))
    )
    with pytest.raises(ImportError, match="wandb"):
        dl.inspect(plain_toy.experiment, plain_toy.Config(), compile=False)
