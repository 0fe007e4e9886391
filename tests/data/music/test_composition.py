"""The files of a piece hold the same voices."""

import numpy as np
import pytest

import dlcore as dl
from tests.helpers.midi_reader import frames_in

VOICES = np.array([[72, 67, 0, 48], [72, 0, 0, 48], [74, 67, 0, 50], [0, 67, 0, 50]])


def test_midi_table_and_figure_agree(drawn):
    files = dl.data.music_files("piece", VOICES, 2, given=1)
    assert set(files) == {"piece.mid", "piece.csv", "piece.png"}
    header, *rows = files["piece.csv"].splitlines()
    assert header == "soprano,alto,tenor,bass"
    table = [[int(cell) for cell in row.split(",")] for row in rows]
    assert table == VOICES.tolist()
    assert frames_in(files["piece.mid"], 2)[0].tolist() == table
    assert len(drawn(files["piece.png"]).axes[0].patches) == 6


def test_fewer_voices_have_fewer_columns():
    files = dl.data.music_files("melody", VOICES[:, :1], 2)
    assert files["melody.csv"].splitlines()[0] == "soprano"


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"voices": np.ones((1, 5), int)}, ValueError, r"voices: got shape \(1, 5\).*1 to 4 voices"),
        ({"frames_per_quarter": 7}, ValueError, "frames_per_quarter: got 7"),
        ({"given": 5}, ValueError, "given: got 5"),
        ({"name": None}, TypeError, "name: got None"),
    ],
)
def test_bad_arguments_are_named(change, error, named):
    with pytest.raises(error, match=named):
        dl.data.music_files(**{"name": "piece", "voices": VOICES, "frames_per_quarter": 2, **change})
