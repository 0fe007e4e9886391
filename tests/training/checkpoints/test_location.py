"""Checkpoints may be outside of the run's folder, also in a bucket, and a run goes on from there with the same bits."""

import dataclasses
import importlib.util
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.checkpoints.checksums import COMMITTED, find_damage
from dlcore.training.checkpoints.folder import saved_steps
from dlcore.training.checkpoints.location import absolute, checkpoints_path, is_bucket, open_path, walk
from tests.helpers import plain_toy
from tests.helpers.bucket import emulated_storage


def config_of(folder, steps=12, seed=0):
    config = plain_toy.Config(seed=seed)
    config.train.steps = steps
    config.checkpoint = dataclasses.replace(config.checkpoint, every=3, keep=2, folder=folder and str(folder))
    return config


def train(run, folder, **settings):
    return dl.train(plain_toy.experiment, config_of(folder, **settings), run)


def assert_same_bits(one, other):
    for leaf, expected in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        np.testing.assert_array_equal(leaf, expected)


def test_a_folder_elsewhere_holds_the_checkpoints(tmp_path):
    assert checkpoints_path(tmp_path, dl.CheckpointConfig()) == tmp_path / "checkpoints"
    elsewhere = tmp_path / "elsewhere"
    train(tmp_path / "run", elsewhere, steps=6)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert saved_steps(elsewhere) == [3, 6]
    whole = train(tmp_path / "whole", None)
    assert_same_bits(train(tmp_path / "run", elsewhere), whole)
    assert dl.load(tmp_path / "run").step == 12


def test_a_run_whose_folder_is_lost_goes_on_with_the_same_settings_only(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    train(tmp_path / "run", elsewhere, steps=6)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds a run with other settings: --config.seed=1 \(was 0\)"):
        train(tmp_path / "run", elsewhere, seed=1)
    assert_same_bits(train(tmp_path / "run", elsewhere), train(tmp_path / "whole", None))


def test_checkpoints_of_an_unknown_run_are_refused(tmp_path):
    train(tmp_path / "run", None, steps=6)
    theirs = tmp_path / "run" / "checkpoints"
    with pytest.raises(
        ValueError, match=rf"--config.checkpoint.folder: got {theirs}, which holds checkpoints but no"
    ):
        train(tmp_path / "other", theirs)
    assert saved_steps(theirs) == [3, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty text"),
        ("s3://bucket/run", "got 's3://bucket/run', expected a path on this machine or in a bucket gs://"),
        ("gs://", "got 'gs://', expected a folder in the bucket, such as gs://bucket/run"),
        ("gs://bucket", "got 'gs://bucket', expected a folder in the bucket"),
        ("gs:///run", "got 'gs:///run', expected a folder in the bucket"),
    ],
)
def test_a_place_that_cannot_be_is_refused(text, message):
    with pytest.raises(ValueError, match=f"^--flag: {re.escape(message)}"):
        open_path("--flag", text)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"--flag: got 'gs://bucket/run', .* pip install 'dlcore\[gcs\]'"):
        open_path("--flag", "gs://bucket/run")


def test_a_path_on_a_disk_is_made_absolute():
    assert absolute(Path("a")) == Path.cwd() / "a"
    assert not is_bucket(Path("gs:/a"))


@pytest.fixture(name="bucket", scope="module")
def emulated_bucket():
    # They are not imported yet, since gcsfs reads the variables then.
    for package in ("gcsfs", "gcp_storage_emulator"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install 'dlcore[gcs,dev]')")
    with emulated_storage("bucket") as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setitem(os.environ, name, value)
        yield "gs://bucket/runs"


@pytest.mark.slow
def test_a_run_in_a_bucket_goes_on_from_its_newest_whole_checkpoint(bucket, tmp_path, capsys):
    """One run: stopped, a checkpoint half-written as by a kill, another one damaged, its own folder lost."""
    place = f"{bucket}/a"
    folder = open_path("--flag", place)
    train(tmp_path / "run", place, steps=9)
    assert saved_steps(folder) == [6, 9]  # the surplus one is deleted
    assert [find_damage(folder / str(step)) for step in (6, 9)] == [None, None]
    assert is_bucket(absolute(folder))

    (folder / "9" / COMMITTED).unlink()
    assert saved_steps(folder) == [6]
    whole = train(tmp_path / "whole", None)
    assert_same_bits(train(tmp_path / "run", place), whole)
    assert "going on from step 6" in capsys.readouterr().err
    assert saved_steps(folder) == [9, 12]

    largest = max(walk(folder / "12" / "default"), key=lambda path: path.stat().length)
    largest.write_bytes(largest.read_bytes()[:-1])
    shutil.rmtree(tmp_path / "run")
    assert_same_bits(train(tmp_path / "run", place), whole)
    said = capsys.readouterr().err
    aside = folder.parent / "damaged_checkpoints" / "12"
    assert re.search(
        rf"{folder}/12: damaged \(default/.*\); moved to {aside}; the run goes on from step 9", said
    )
    assert "going on from step 9" in said
    assert (aside / COMMITTED).is_file()

    model = dl.load(tmp_path / "run")
    assert model.step == 12
    tuned = config_of(None, steps=3)
    tuned.init_from = place
    dl.train(plain_toy.experiment, tuned, tmp_path / "tuned")
    assert f"initialized from {place}/12" in capsys.readouterr().err
