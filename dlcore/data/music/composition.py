"""The files of a piece that a model composed: MIDI to hear, a table to read, a figure to see."""

from typing import Any

import numpy as np

from dlcore.data.music.chorales import VOICES
from dlcore.data.music.midi import check_voices, midi_file
from dlcore.data.text.tables import csv_text
from dlcore.plots.music import piano_roll
from dlcore.utils.checks import check_instance, check_integer


def music_files(name: str, voices: np.ndarray, frames_per_quarter: int, given: int = 0) -> dict[str, Any]:
    """The files ``NAME.mid``, ``NAME.csv`` and ``NAME.png`` of a piece, for `Experiment.generate`.

    The table has a row for each frame: the voices as MIDI numbers, and 0 for a rest.

    Args:
        name: the name of the files.
        voices: integers ``[T, V]``, one to four voices.
        frames_per_quarter: 1 to 480, a divisor of 480.
        given: the number of first frames that were given; a line in the figure ends them.

    Returns:
        Bytes, text and a matplotlib figure by file name.

    Raises:
        ModuleNotFoundError: mido is not installed.
        TypeError: an argument has another type.
        ValueError: as in `midi_file` and `plots.piano_roll`; or there are more than four voices.
    """
    check_instance("name", name, str, "the name of a file")
    voices = check_voices(voices, len(VOICES))
    check_integer("given", given, 0, len(voices))
    columns = dict(zip(VOICES[: voices.shape[1]], voices.T, strict=True))
    return {
        f"{name}.mid": midi_file(voices, frames_per_quarter),
        f"{name}.csv": csv_text(columns),
        f"{name}.png": piano_roll(voices, frames_per_quarter, given=given),
    }
