"""Figures of music."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import as_integers, as_names
from dlcore.utils.checks import check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOICE_COLORS = ("#c1440e", "#d9a441", "#5f8a5b", "#3f5f8a")


def piano_roll(
    voices: np.ndarray,
    frames_per_quarter: int = 1,
    names: Sequence[str] = ("soprano", "alto", "tenor", "bass"),
    given: int = 0,
) -> "Figure":
    """A matplotlib figure of voices over time: a bar for each note, at the height of its pitch.

    Args:
        voices: integers ``[T, V]``, MIDI numbers and 0 for a rest. Equal frames that follow each other are one bar.
        frames_per_quarter: number of frames in a quarter, the unit of the axis of time.
        names: the name of each voice, for the legend; a voice more has none.
        given: the number of first frames that were given and not composed; a line ends them.

    Raises:
        ValueError: the voices have another rank or no frame, a number is not in 0..127, or a number of frames is below
            1, or ``given`` not in 0..T.
        TypeError: the voices or a number are not integers, or the names no list.
    """
    voices, names = as_integers("voices", voices, "[T, V]"), as_names("names", names)
    if voices.min() < 0 or voices.max() > 127:
        raise ValueError(
            f"voices: got {voices.min()} to {voices.max()}, expected MIDI numbers of 0, a rest, to 127"
        )
    check_integer("frames_per_quarter", frames_per_quarter)
    check_integer("given", given, 0, len(voices))
    quarters = len(voices) / frames_per_quarter
    figure = new_figure(min(max(6.4, 0.15 * quarters), 24), 4)
    axes = figure.subplots()
    for number, voice in enumerate(voices.T):
        runs = np.split(voice, np.flatnonzero(np.diff(voice)) + 1)
        starts = np.cumsum([0, *map(len, runs[:-1])]) / frames_per_quarter
        notes = [
            (start, len(run) / frames_per_quarter, run[0])
            for start, run in zip(starts, runs, strict=True)
            if run[0]
        ]
        left, widths, pitches = np.array(notes).reshape(-1, 3).T
        name = str(names[number]) if number < len(names) else None
        color = VOICE_COLORS[number % len(VOICE_COLORS)]
        axes.barh(
            pitches, widths, height=0.8, left=left, color=color, edgecolor="white", linewidth=0.4, label=name
        )
    if given:
        axes.axvline(given / frames_per_quarter, color="black", linestyle="--", linewidth=1)
    sung = voices[voices > 0]
    octaves = np.arange(0, 128, 12)
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.set(xlabel="quarter", ylabel="pitch", xlim=(0, quarters))
    axes.set_ylim(min(sung, default=60) - 2, max(sung, default=72) + 2)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, ncols=4, loc="upper right", bbox_to_anchor=(1, 1.12))
    return figure
