"""A piano roll has a bar for each note, at its time and pitch."""

import numpy as np
import pytest

from dlcore.plots.music import piano_roll

VOICES = np.array([[72, 60], [72, 0], [74, 60], [74, 62]])


def test_bars_are_notes(drawn):
    figure = drawn(piano_roll(VOICES, 2, ["upper"], given=3))
    (axes,) = figure.axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in axes.patches]
    assert bars == [(0, 1, 72), (1, 1, 74), (0, 0.5, 60), (1, 0.5, 60), (1.5, 0.5, 62)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["upper"]
    assert axes.lines[0].get_xdata() == [1.5, 1.5]
    assert axes.get_xlim() == (0, 2)


def test_silence_is_an_empty_roll(drawn):
    assert not drawn(piano_roll(np.zeros((3, 4), int))).axes[0].patches


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"voices": [60]}, ValueError, r"voices: got shape \(1,\)"),
        ({"voices": [[128]]}, ValueError, "voices: got 128 to 128"),
        ({"voices": [[0.5]]}, TypeError, "voices: got float64, expected integers"),
        ({"frames_per_quarter": 0}, ValueError, "frames_per_quarter: got 0"),
        ({"given": 5}, ValueError, "given: got 5"),
        ({"names": "soprano"}, TypeError, "names: got 'soprano'"),
    ],
)
def test_bad_arguments_are_named(change, error, named):
    with pytest.raises(error, match=named):
        piano_roll(**{"voices": VOICES, **change})
