"""Sequences hold the waveform of their frames, whatever the cut; padding and unknown numbers do not count."""

import numpy as np
import pytest

from dlcore.data.speech.contours.recordings import ContourWindows, Recording, contour_sequences


def recording(name, frames, samples=4, unknown=()):
    """A waveform whose samples, and targets whose numbers, tell the frame."""
    targets = np.arange(frames, dtype=np.float32)[:, None] * np.array([1, -1], np.float32)
    targets[list(unknown), 1] = np.nan
    return Recording(name, np.repeat(np.arange(frames, dtype=np.float32), samples), targets)


RECORDINGS = [recording("long", 25), recording("short", 3), recording("gaps", 12, unknown=(2, 11))]


def frames_of(batch, row):
    return batch["inputs"][row, :: batch["inputs"].shape[1] // batch["targets"].shape[1], 0]


def test_the_sequences_of_an_evaluation_have_every_frame_once():
    batch = contour_sequences(RECORDINGS, 10)
    assert batch["recordings"].tolist() == [0, 0, 0, 1, 2, 2]
    assert batch["lengths"].tolist() == [40, 40, 20, 12, 40, 8]
    assert batch["inputs"].shape == (6, 40, 1)
    starts = [0, 10, 20, 0, 0, 10]
    for row, start in enumerate(starts):
        valid = batch["lengths"][row] // 4
        assert frames_of(batch, row)[:valid].tolist() == list(range(start, start + valid))
        assert batch["targets"][row, :valid, 0].tolist() == list(range(start, start + valid))
        assert not batch["targets"][row, valid:].any()
        assert not batch["mask"][row, valid:].any()
    assert np.flatnonzero(~batch["mask"][4]).tolist() == [2]
    assert batch["mask"].sum() == 25 + 3 + 12 - 2
    assert np.isfinite(batch["targets"]).all()


def test_windows_are_drawn_from_all_places_alike():
    batch = ContourWindows(RECORDINGS, 10)(np.random.default_rng(0), 4000)
    counts = np.bincount(batch["recordings"]) / 4000
    np.testing.assert_allclose(counts, np.array([16, 1, 3]) / 20, atol=0.03)
    of_long = batch["recordings"] == 0
    assert set(batch["targets"][of_long, 0, 0].astype(int)) == set(range(16))
    for row in range(50):
        valid = batch["lengths"][row] // 4
        assert (frames_of(batch, row)[:valid] == batch["targets"][row, :valid, 0]).all()
    assert set(batch["lengths"][batch["recordings"] == 1]) == {12}


@pytest.mark.parametrize(
    ("recordings", "error", "named"),
    [
        (None, TypeError, "recordings: got None"),
        ([], ValueError, "recordings: got none"),
        ([(1, 2, 3)], TypeError, r"recordings: got \(1, 2, 3\)"),
        (
            [RECORDINGS[0], recording("other", 3, samples=5)],
            ValueError,
            "got other with 5 samples a frame and 2 cont",
        ),
        (
            [Recording("a", np.ones(7), np.ones((2, 1)))],
            ValueError,
            r"recordings\['a'\]: got 7 samples for 2 frames",
        ),
        (
            [Recording("a", np.ones(8), np.ones(2))],
            ValueError,
            r"recordings\['a'\]: got targets of float64 and shape",
        ),
        (
            [Recording("a", np.full(8, np.nan), np.ones((2, 1)))],
            ValueError,
            r"recordings\['a'\]: got an array",
        ),
    ],
)
def test_bad_recordings_are_named(recordings, error, named):
    with pytest.raises(error, match=named):
        contour_sequences(recordings, 10)
    with pytest.raises(error, match=named):
        ContourWindows(recordings, 10)


@pytest.mark.parametrize("frames", [0, 2.5])
def test_bad_numbers_of_frames_are_named(frames):
    with pytest.raises((ValueError, TypeError), match=f"frames: got {frames}"):
        contour_sequences(RECORDINGS, frames)
