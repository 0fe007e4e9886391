"""A run's folder gives its trained model back."""

import json
import shutil

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.runs.load import as_model
from dlcore.training.callbacks import logger
from tests.helpers import plain_toy
from tests.helpers.bits import assert_same_bits
from tests.helpers.checkpoints import read_files

CODE = {"experiment": plain_toy.experiment, "config": plain_toy.Config}


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained run's folder."""
    return shutil.copytree(trained.folder, tmp_path / "run")


def test_the_folder_alone_is_enough_and_stays_as_it_is(trained):
    before = read_files(trained.folder)
    model = dl.load(str(trained.folder), "newest")
    assert model.step == 12
    assert model.config == trained.model.config
    assert model.state.opt_state is None
    assert_same_bits(model.params, trained.model.params)
    assert_same_bits(model.model_state, trained.model.model_state)
    inputs = plain_toy.arrays()["inputs"][:3]
    np.testing.assert_array_equal(model.predict(inputs), trained.model.predict(inputs))
    assert read_files(trained.folder) == before


def test_a_model_is_loaded_where_the_logger_of_its_run_is_not_installed(trained, monkeypatch):
    monkeypatch.setattr(logger.importlib.util, "find_spec", lambda package: None)
    config = plain_toy.Config(log=dl.LogConfig(wandb="project"))
    assert dl.load(trained.folder, config=config).step > 0
    with pytest.raises(ImportError, match="WandbLogger: wandb is not installed"):
        dl.train(plain_toy.experiment, config, trained.folder)


def test_a_checkpoint_is_chosen_by_its_step_or_as_the_best(trained):
    losses = dict(zip(*trained.metrics["eval/loss"], strict=True))
    assert dl.load(trained.folder, 6).step == 6
    assert dl.load(trained.folder).step == min(losses, key=losses.get)
    with pytest.raises(FileNotFoundError, match=r"^checkpoint: got 7, but .* has steps 6, 12"):
        dl.load(trained.folder, 7)
    with pytest.raises(ValueError, match=r"^checkpoint: got 'last', expected newest, best or a step"):
        dl.load(trained.folder, "last")


def test_an_old_folder_needs_the_experiment_and_the_config(trained, folder):
    (folder / "experiment.json").unlink()
    with pytest.raises(
        ValueError, match=r"^config: got none, and .*experiment\.json does not name it; expected load"
    ):
        dl.load(folder)
    with pytest.raises(ValueError, match=r"^experiment: got none, and .*experiment\.json does not name it"):
        dl.load(folder, config=plain_toy.Config)
    for code in (
        CODE,
        {"experiment": plain_toy.experiment(plain_toy.Config()), "config": plain_toy.Config()},
    ):
        assert_same_bits(dl.load(folder, "newest", **code).params, trained.model.params)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:experiment", "No module named 'no_such_module'"),
        ("tests.helpers.plain_toy:gone", "tests.helpers.plain_toy has no gone"),
        ("__main__:no_such_experiment", "has no no_such_experiment"),
    ],
)
def test_code_that_cannot_be_imported_is_named(folder, name, why):
    names = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps({**names, "experiment": name}))
    with pytest.raises(
        ValueError, match=f"^experiment: got none, and {name}, which made .*{why}.*; expected"
    ):
        dl.load(folder)
    assert dl.load(folder, experiment=plain_toy.experiment).step in (6, 12)


def test_a_config_of_other_settings_takes_the_place_of_the_file(folder):
    config = plain_toy.Config(dropout=0.5)
    assert dl.load(folder, config=config).config == config


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"folder": 3}, TypeError, "folder: got 3, expected a path"),
        (
            {"folder": "nowhere"},
            ValueError,
            r"folder: got 'nowhere' without config\.json",
        ),
        ({"experiment": 3}, TypeError, "experiment: got 3, expected a function"),
        ({"config": dict}, TypeError, "config: got <class 'dict'>, expected a class derived from dl.Config"),
        ({"config": "x"}, TypeError, "config: got 'x', expected a class"),
        ({"checkpoint": None}, ValueError, "checkpoint: got None, expected newest, best or a step"),
    ],
)
def test_a_bad_argument_is_named(trained, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        dl.load(**{"folder": trained.folder} | arguments)


def test_a_model_may_be_given_in_four_ways(trained):
    model = dl.load(trained.folder)
    assert as_model(model) is model
    assert as_model(trained) is trained.model
    for folder in (trained.folder, str(trained.folder)):
        assert_same_bits(as_model(folder).params, model.params)
    with pytest.raises(TypeError, match=r"^model: got 3, expected what dl\.train or dl\.load returned"):
        as_model(3)


def test_a_moved_folder_is_loaded_on_any_device(folder):
    model = dl.load(folder.rename(folder.with_name("moved")))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model.params))
