"""Clips move a whole digit as their labels say, lose pixels as they are told, and keep train and test digits apart."""

from functools import partial

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.vision.moving_digits import MOTIONS, check_digits, moving_digits, paste

STEPS = {"still": (0, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
BLOCKS = {"inputs": np.ones((3, 2, 3, 1)), "labels": np.array([4, 5, 6])}
CLEAN = {"hidden": 0.0, "noise": 0.0}


def generator():
    return np.random.default_rng(0)


def corner(frame):
    """The first row and the first column that hold a pixel."""
    rows, columns = np.nonzero(frame[..., 0])
    return rows.min(), columns.min()


def test_digits_move_as_the_labels_of_their_frames_say():
    clips = moving_digits(generator(), 200, BLOCKS, canvas=9, frame_labels=True, **CLEAN)
    seen = set()
    for frames, length, labels in zip(clips["inputs"], clips["lengths"], clips["labels"], strict=True):
        assert labels[0] == 0
        assert not labels[length:].any()
        assert not frames[length:].any()
        places = [corner(frame) for frame in frames[:length]]
        for before, after, label in zip(places[:-1], places[1:], labels[1:length], strict=True):
            down, right = STEPS[MOTIONS[label]]
            assert after == (before[0] + 2 * down, before[1] + 2 * right)
        assert all(frame.sum() == 6 for frame in frames[:length])  # the digit is whole
        seen |= set(labels.tolist())
    assert seen == set(range(5))
    assert set(clips["lengths"].tolist()) == set(range(8, 13))


def test_a_clip_has_the_label_of_its_digit():
    digits = {
        "inputs": np.arange(1.0, 4)[:, None, None, None] * np.ones((1, 2, 2, 1)),
        "labels": np.array([7, 0, 9]),
    }
    clips = moving_digits(generator(), 50, digits, canvas=4, **CLEAN)
    assert {name: array.dtype for name, array in clips.items()} == {
        "inputs": np.float32,
        "lengths": np.int32,
        "labels": np.int32,
    }
    for frames, label in zip(clips["inputs"], clips["labels"], strict=True):
        assert frames.max() == {7: 1, 0: 2, 9: 3}[int(label)]


def test_a_transform_changes_the_drawn_digits_and_not_those_given():
    def brighter(batch, generator):
        return {**batch, "inputs": batch["inputs"] + 1}

    clips = moving_digits(generator(), 20, BLOCKS, canvas=9, transform=brighter, **CLEAN)
    assert set(np.unique(clips["inputs"])) == {0, 2}
    assert (BLOCKS["inputs"] == 1).all()
    with pytest.raises(ValueError, match=r"transform: .* shape \(20, 2\), expected \(20, 2, 3, 1\)"):
        moving_digits(
            generator(), 20, BLOCKS, transform=lambda batch, _: {"inputs": batch["inputs"][:, :, 0, 0]}
        )


def test_hidden_pixels_noise_and_turns_have_their_shares():
    digits = {"inputs": np.ones((1, 4, 4, 1)), "labels": np.array([1])}
    clips = moving_digits(generator(), 400, digits, canvas=4, shortest=5, longest=5, hidden=0.7, noise=0.0)
    assert (clips["inputs"] != 0).mean() == pytest.approx(0.3, abs=0.01)
    noisy = moving_digits(generator(), 400, digits, canvas=8, shortest=5, longest=5, hidden=0.0, noise=0.2)
    assert noisy["inputs"].std() == pytest.approx(np.hypot(0.2, np.sqrt(3) / 4), rel=0.02)
    options = {"shortest": 4, "longest": 4, "frame_labels": True, **CLEAN}
    steady = moving_digits(generator(), 100, digits, canvas=64, turn=0.0, **options)["labels"][:, 1:]
    assert (steady == steady[:, :1]).mean() > 0.9  # it turns at the border only
    assert set(steady[:, 0].tolist()) == set(range(5))
    restless = moving_digits(generator(), 500, digits, canvas=64, turn=1.0, **options)["labels"][:, 1:]
    np.testing.assert_allclose(np.bincount(restless.ravel()) / restless.size, 0.2, atol=0.04)


def test_a_digit_as_large_as_the_canvas_stands_still():
    clips = moving_digits(generator(), 5, BLOCKS, canvas=3, turn=1.0, frame_labels=True, **CLEAN)
    vertical = set(clips["labels"].ravel().tolist())
    assert vertical <= {0}  # one row of room is less than the speed


def test_batches_are_a_function_of_the_step_and_test_digits_stay_in_test_clips():
    marked = [{"inputs": np.full((2, 2, 2, 1), value), "labels": np.array([3, 8])} for value in (0.5, 1.0)]
    parts = [partial(moving_digits, digits=part, canvas=4, **CLEAN) for part in marked]
    train, test = dl.data.SyntheticBatches(parts[0], 8, seed=1), dl.data.held_out(parts[1], 8)
    for step in (0, 5):
        again = train[step]
        np.testing.assert_array_equal(train[step]["inputs"], again["inputs"])
        assert set(np.unique(again["inputs"])) == {0, 0.5}
    assert not np.array_equal(train[0]["inputs"], train[1]["inputs"])
    assert set(np.unique(test["inputs"])) == {0, 1}


def test_images_are_pasted_at_their_corners():
    images = np.arange(1, 5).reshape(1, 2, 2, 1)
    canvases = paste(images, np.array([[0, 1], [2, 0]]), (4, 3))
    assert canvases[0, :, :, 0].tolist() == [[0, 1, 2], [0, 3, 4], [0, 0, 0], [0, 0, 0]]
    assert canvases[1, :, :, 0].tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 0], [3, 4, 0]]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"inputs": np.ones((3, 2, 2))}, r"digits: got inputs of shape \(3, 2, 2\), expected \[N, h, w, C\]"),
        (
            {"labels": np.array([1, 2, 10])},
            r"digits: got labels int64 of shape \(3,\), expected integers \[N\] from 0",
        ),
        ({"labels": np.array([1.0, 2.0, 3.0])}, "digits: got labels float64"),
        ({"labels": np.array([1, 2])}, "digits: got fields of lengths"),
    ],
)
def test_digits_that_are_none_are_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        check_digits({**BLOCKS, **changes})


def test_numbers_out_of_their_bounds_are_refused():
    for option, named in (
        ({"canvas": 2}, "canvas: got 2"),
        ({"longest": 7}, "longest: got 7"),
        ({"hidden": 1.5}, "hidden: got 1.5"),
        ({"noise": -1.0}, "noise: got -1"),
        ({"speed": 0}, "speed: got 0"),
    ):
        with pytest.raises(ValueError, match=named):
            moving_digits(generator(), 2, BLOCKS, **option)
