"""The settings of an experiment on chorales, and the voices that its user gives it to go on from."""

from dataclasses import dataclass

import numpy as np

from dlcore.config.settings import Settings, setting
from dlcore.data.batch import Batch, get_field
from dlcore.data.buckets import BucketedBatches
from dlcore.data.music.chorales import GRIDS, VOICES, Grid, bach_chorales
from dlcore.data.music.frames import parse_melody, random_transposition
from dlcore.data.music.jsb import jsb_chorales
from dlcore.data.music.musicxml import REST
from dlcore.utils.checks import check_instance, check_integer


@dataclass
class ChoraleConfig(Settings):
    """Which chorales an experiment reads.

    >>> ChoraleConfig("16th").per_quarter
    4
    """

    grid: Grid = setting("eighth", "Distance of two frames; numbers on different grids cannot be compared.")
    jsb: str | None = setting(
        None, "File of the JSB chorales, .json, on the same grid; none reads Bach's chorales from music21."
    )
    limit: int | None = setting(None, "Reads only so many of music21's chorales; none reads all.", minimum=3)
    transposition: int = setting(
        5, "Largest number of semitones by which training moves a chorale.", minimum=0, maximum=127
    )

    @property
    def per_quarter(self) -> int:
        """The number of frames in a quarter."""
        return GRIDS[self.grid]

    def load(self) -> tuple[Batch, Batch, Batch]:
        """The parts ``(train, dev, test)`` of `bach_chorales` or `jsb_chorales`; errors are theirs."""
        if self.jsb is not None:
            return jsb_chorales(self.jsb)
        return bach_chorales(self.grid, limit=self.limit)

    def train_batches(self, train: Batch, batch_size: int, seed: int) -> BucketedBatches:
        """Batches of chorales of about the same length, each moved to a key that is drawn anew.

        Args:
            train: a part with ``lengths [N]``; its ``inputs`` and ``labels`` are notes ``[N, T, ...]``.
            batch_size: number of chorales in a batch.
            seed: seed of order and keys.

        Raises:
            TypeError, ValueError: as in `BucketedBatches`.
        """
        boundaries = [quarters * self.per_quarter for quarters in (32, 48, 64, 96)]
        transposition = random_transposition(self.transposition)
        return BucketedBatches(train, batch_size, seed, boundaries, transposition)


def given_voices(text: str, chorales: Batch, count: int) -> np.ndarray:
    """The voices that a user names or writes for a model to go on from, int32 ``[T, count]``.

    Args:
        text: the number of a chorale, 0 for the first one; or the voices from the highest on as `parse_melody` reads
            them, with ``;`` between two. A voice that ends before the longest one rests.
        chorales: the numbered chorales, a part of `bach_chorales`.
        count: the number of voices, 1 to 4.

    Raises:
        TypeError: the text is none, or the count is not an integer.
        ValueError: there is no chorale of this number, a word is no note, or there is another number of voices.

    >>> given_voices("G4 A4; C4", {}, 2).tolist()
    [[67, 60], [69, 0]]
    """
    check_instance("text", text, str, 'the number of a chorale, or a melody such as "G4*2 A4 B4"')
    check_integer("count", count, 1, len(VOICES))
    if text.strip().isdecimal():
        return _chorale(text, chorales, "inputs")[:, :count]
    voices = [parse_melody(voice)[0] for voice in text.split(";")]
    if len(voices) != count:
        raise ValueError(
            f"text: got {len(voices)} voices, expected {count} with ; between two, or a chorale's number"
        )
    given = np.full((max(map(len, voices)), count), REST, np.int32)
    for column, voice in zip(given.T, voices, strict=True):
        column[: len(voice)] = voice
    return given


def given_melody(text: str, chorales: Batch) -> tuple[np.ndarray, np.ndarray]:
    """The notes and the marks, both int32 ``[T]``, of a melody that a user names or writes.

    Args:
        text: the number of a chorale whose soprano it is, 0 for the first one; or a melody as `parse_melody` reads it.
        chorales: the numbered chorales, a part of `bach_chorales`.

    Raises:
        TypeError: the text is none.
        ValueError: there is no chorale of this number, or a word is no note.

    >>> notes, marks = given_melody("G4 A4*2^", {})
    >>> notes.tolist(), marks.tolist()
    ([67, 69, 69], [1, 3, 2])
    """
    check_instance("text", text, str, 'the number of a chorale, or a melody such as "G4*2 A4 B4"')
    if text.strip().isdecimal():
        return _chorale(text, chorales, "inputs")[:, 0], _chorale(text, chorales, "marks")
    return parse_melody(text)


def _chorale(number: str, chorales: Batch, field: str) -> np.ndarray:
    """What a field has for a chorale, ``[T, ...]``."""
    rows, lengths = get_field(chorales, field), get_field(chorales, "lengths")
    row = check_integer("text", int(number), 0, len(lengths) - 1)
    return rows[row, : lengths[row]]
