"""The settings of an experiment choose its chorales; a user names or writes voices."""

import json

import numpy as np
import pytest

import dlcore as dl

NOTES = np.arange(60, 72).reshape(1, 3, 4).repeat(2, axis=0)
PART = {"inputs": NOTES, "marks": np.array([[1, 0, 3], [1, 3, 0]]), "lengths": np.array([3, 2])}


def test_the_grid_counts_frames():
    assert [dl.data.ChoraleConfig(grid).per_quarter for grid in ("quarter", "eighth", "16th")] == [1, 2, 4]


def test_a_file_of_the_user_takes_the_place_of_bachs_chorales(tmp_path):
    path = tmp_path / "jsb.json"
    path.write_text(json.dumps({name: [[[72, 67, 64, 60]]] for name in ("train", "valid", "test")}))
    for part in dl.data.ChoraleConfig(jsb=str(path)).load():
        assert part["inputs"].tolist() == [[[72, 67, 64, 60]]]


def test_training_batches_are_moved_to_other_keys():
    batches = dl.data.ChoraleConfig(transposition=2).train_batches(
        {**PART, "labels": NOTES[..., 1:]}, 2, seed=0
    )
    distances = set()
    for step in range(20):
        batch = batches[step]
        order = np.argsort(batch["lengths"])[::-1]
        moved = batch["inputs"][order] - NOTES
        assert (moved == moved[:, :1, :1]).all()
        assert (batch["labels"] == batch["inputs"][..., 1:]).all()
        distances |= set(moved.ravel().tolist())
    assert distances == set(range(-2, 3))


@pytest.mark.parametrize(
    ("text", "count", "voices"),
    [
        ("1", 4, NOTES[1, :2].tolist()),
        (" 0 ", 1, NOTES[0, :, :1].tolist()),
        ("60 61", 1, [[60], [61]]),
        ("C4*2; E3; r C3", 3, [[60, 52, 0], [60, 0, 48]]),
    ],
)
def test_voices_are_named_or_written(text, count, voices):
    assert dl.data.given_voices(text, PART, count).tolist() == voices


@pytest.mark.parametrize(
    ("text", "count", "error", "named"),
    [
        ("2", 4, ValueError, "text: got 2, expected"),
        ("C4; C3", 4, ValueError, "text: got 2 voices, expected 4"),
        ("C4; bogus", 2, ValueError, "text: got 'bogus'"),
        ("C4;", 2, ValueError, "text: got ''"),
        (None, 1, TypeError, "text: got None"),
        ("C4", 5, ValueError, "count: got 5"),
    ],
)
def test_what_is_no_voice_is_named(text, count, error, named):
    with pytest.raises(error, match=named):
        dl.data.given_voices(text, PART, count)


@pytest.mark.parametrize(
    ("text", "notes", "marks"),
    [("1", NOTES[1, :2, 0].tolist(), [1, 3]), ("60*2 61^ r", [60, 60, 61, 0], [1, 0, 3, 0])],
)
def test_a_melody_is_named_or_written_with_its_marks(text, notes, marks):
    given = dl.data.given_melody(text, PART)
    assert [array.tolist() for array in given] == [notes, marks]


@pytest.mark.parametrize(
    ("text", "error", "named"),
    [
        ("2", ValueError, "text: got 2, expected"),
        ("C4;", ValueError, "text: got"),
        (3, TypeError, "text: got 3"),
    ],
)
def test_what_is_no_melody_is_named(text, error, named):
    with pytest.raises(error, match=named):
        dl.data.given_melody(text, PART)
