"""A damaged checkpoint is named, then skipped by code that reads or set aside by the run that goes on."""

import pytest

from dlcore.training.checkpoints.folder import (
    DAMAGED,
    newest_whole,
    read_callbacks,
    saved_steps,
    set_aside_damaged,
    write_callbacks,
)
from dlcore.training.checkpoints.location import CHECKPOINTS
from tests.helpers.checkpoints import fake_checkpoint, flip_bit, read_files, truncate


@pytest.fixture(name="run")
def run_with_checkpoints(tmp_path):
    for step in (1, 2, 10):
        fake_checkpoint(tmp_path, step)
    return tmp_path


def test_only_whole_names_of_folders_are_steps(run):
    for name in ("11.orbax-checkpoint-tmp", "discarded", "012", "-1"):
        (run / CHECKPOINTS / name).mkdir()
    (run / CHECKPOINTS / "12").touch()
    assert saved_steps(run / CHECKPOINTS) == [1, 2, 10]
    assert saved_steps(run / "none") == []


def test_the_newest_whole_checkpoint_is_found_and_nothing_moves(run, capsys):
    assert newest_whole(run / CHECKPOINTS) == 10
    assert capsys.readouterr().err == ""
    truncate(run / CHECKPOINTS / "10")
    before = read_files(run)
    assert newest_whole(run / CHECKPOINTS) == 2
    assert capsys.readouterr().err == (
        f"{run}/checkpoints/10: damaged (default/values: got 30 bytes, expected 40); skipped\n"
    )
    assert read_files(run) == before


def test_a_folder_without_a_whole_checkpoint_has_no_newest(run):
    for step in (1, 2, 10):
        flip_bit(run / CHECKPOINTS / str(step))
    assert newest_whole(run / CHECKPOINTS) is None
    assert newest_whole(run / "none") is None


def test_damaged_checkpoints_of_any_age_are_set_aside(run, capsys):
    for step in (1, 10):
        flip_bit(run / CHECKPOINTS / str(step))
    before = read_files(run / CHECKPOINTS)
    assert set_aside_damaged(run / CHECKPOINTS) == 2
    assert saved_steps(run / CHECKPOINTS) == [2]
    assert saved_steps(run / DAMAGED) == [1, 10]
    assert read_files(run / DAMAGED) | read_files(run / CHECKPOINTS) == before
    changed = "damaged (default/values: its contents differ from what was written)"
    assert capsys.readouterr().err.splitlines() == [
        f"{run}/checkpoints/{step}: {changed}; moved to {run / DAMAGED / str(step)}; the run goes on from step 2"
        for step in (1, 10)
    ]
    assert set_aside_damaged(run / CHECKPOINTS) == 2
    assert capsys.readouterr().err == ""


def test_if_all_are_damaged_the_run_begins_anew(run, capsys):
    for step in (1, 2, 10):
        truncate(run / CHECKPOINTS / str(step))
    assert set_aside_damaged(run / CHECKPOINTS) is None
    assert saved_steps(run / CHECKPOINTS) == []
    assert capsys.readouterr().err.count("the run begins anew") == 3


def test_nothing_that_was_set_aside_is_overwritten(run):
    for name in ("10", "10.1"):
        (run / DAMAGED / name).mkdir(parents=True)
    flip_bit(run / CHECKPOINTS / "10")
    assert set_aside_damaged(run / CHECKPOINTS) == 2
    assert (run / DAMAGED / "10.2" / "default").is_dir()


def test_what_callbacks_keep_comes_back_and_nothing_is_no_file(tmp_path):
    saved = {"stopped": "enough", "states": {"EarlyStopping": {"best": float("inf"), "waited": 2}}}
    write_callbacks(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert read_callbacks(tmp_path) == {}
    write_callbacks(tmp_path, saved)
    assert read_callbacks(tmp_path) == saved
