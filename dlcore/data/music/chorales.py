"""Bach's chorales in four voices, split by tune.

A part of the data has the fields ``inputs`` (int32 ``[N, T, 4]``: soprano, alto, tenor and bass as MIDI numbers, 0 for
a rest and for padding), ``marks`` (int32 ``[N, T]``: where the soprano's notes begin, and which have a fermata) and
``lengths`` (int32 ``[N]``). `dlcore.data.music.frames` says what frames and marks are.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.music.frames import frames_of, marks_of
from dlcore.data.music.musicxml import Note, read_parts
from dlcore.data.packages import package_folder
from dlcore.utils.checks import check_choice, check_integer
from dlcore.utils.rng import stream_generator

Grid: TypeAlias = Literal["quarter", "eighth", "16th"]
GRIDS: Mapping[str, int] = {"quarter": 1, "eighth": 2, "16th": 4}
"""The number of frames in a quarter by the name of the grid."""
VOICES = ("soprano", "alto", "tenor", "bass")
OPENING_QUARTERS, OPENING_INTERVALS = 16, 6
DEV, TEST = 0.1, 0.2
"""The least shares of the chorales in the development and in the test part."""


class Chorale(NamedTuple):
    """A chorale: its number in the catalog, such as ``bwv1.6``, and the notes of its four parts."""

    name: str
    parts: list[list[Note]]


def bach_chorales(grid: Grid = "eighth", *, limit: int | None = None) -> tuple[Batch, Batch, Batch]:
    """Bach's 365 chorales in exactly four parts, from the scores of the package music21.

    There are 19,900 frames of a quarter, 39,800 of an eighth, 79,600 of a sixteenth. Only the package's files are read;
    the package is not imported. Repeats are played once.

    Bach set many tunes several times. All settings of a tune are in the same part. Two chorales have the same tune if
    their sopranos begin, in any key, with the same 16 quarters (258 beginnings), or with the same 6 intervals after
    repeated notes are left out. If a chorale shares a tune with two others, all three have one tune. There are 192
    tunes. Their order is drawn once: the first ones are the test part, until it has a fifth of the chorales, the next
    ones the development part with a tenth.

    Args:
        grid: the distance of two frames.
        limit: reads only so many chorales, in the order of their names; None reads all.

    Returns:
        ``(train, dev, test)``, three batches. ``dev`` is for choosing settings; ``test`` is for the result alone.

    Raises:
        FileNotFoundError: the package is neither installed nor fetched, or lacks the scores.
        TypeError: the limit is not an integer.
        ValueError: the grid is another, the limit is below 3 or leaves fewer than 3 tunes, or a score is damaged.
    """
    check_choice("grid", grid, tuple(GRIDS))
    if limit is not None:
        check_integer("limit", limit, 3)
    chorales = read_chorales(limit)
    parts = split_tunes([tune_keys(chorale.parts[0]) for chorale in chorales])
    pieces = [_frames_and_marks(chorale, GRIDS[grid]) for chorale in chorales]
    train, dev, test = (pad_frames([pieces[index] for index in part]) for part in parts)
    return train, dev, test


def _frames_and_marks(chorale: Chorale, per_quarter: int) -> tuple[np.ndarray, np.ndarray]:
    frames = frames_of(chorale.parts, per_quarter)
    return frames, marks_of(chorale.parts[0], per_quarter, len(frames))


def read_chorales(limit: int | None = None) -> list[Chorale]:
    """The chorales in four parts by the order of their files' names. Arguments and errors are those of `bach_chorales`.

    Some scores of the folder have instruments in parts of their own; they are left out.
    """
    folder = package_folder("music21") / "music21" / "corpus" / "bach"
    paths = sorted(path for path in folder.glob("bwv*") if path.suffix in (".mxl", ".xml"))
    if not paths:
        raise FileNotFoundError(
            f"music21: got {folder} without Bach's chorales, expected files bwv*.mxl, as in the package music21 of "
            "PyPI; Debian's package has none. launch/data music21"
        )
    chorales: list[Chorale] = []
    for path in paths:
        if len(chorales) == limit:
            break
        parts = read_parts(path, len(VOICES))
        if parts:
            chorales.append(Chorale(path.stem, parts))
    return chorales


def tune_keys(soprano: Sequence[Note]) -> Iterator[Hashable]:
    """Two openings of a melody; melodies have the same tune if one of their openings is equal.

    The first opening is the pitch at each of the first 16 quarters, in semitones above the first one. The second one is
    the first 6 intervals, without repeated notes and rests, so that it is the same in another meter.
    """
    frames = frames_of([soprano], 1)[:OPENING_QUARTERS, 0]
    yield "quarters", tuple(int(pitch - frames[frames > 0][0]) if pitch else None for pitch in frames)
    pitches = np.array([note.pitch for note in soprano if note.pitch])
    intervals = np.diff(pitches)
    yield "intervals", tuple(intervals[intervals != 0][:OPENING_INTERVALS].tolist())


def split_tunes(keys: Sequence[Iterable[Hashable]]) -> tuple[list[int], list[int], list[int]]:
    """The indices of the chorales of train, dev and test, for the keys of each one's tune.

    Raises:
        ValueError: there are fewer than three tunes.
    """
    groups = _linked(keys)
    if len(groups) < 3:
        raise ValueError(f"limit: got {len(keys)} chorales of {len(groups)} tunes, expected at least 3 tunes")
    order = stream_generator(0, "tunes").permutation(len(groups))
    parts: list[list[int]] = []
    taken = 0
    for share in (TEST, DEV):
        part: list[int] = []
        while len(part) < share * len(keys) and taken < len(groups) - 2 + len(parts):
            part += groups[order[taken]]
            taken += 1
        parts.append(part)
    rest = [index for group in order[taken:] for index in groups[group]]
    return sorted(rest), sorted(parts[1]), sorted(parts[0])


def _linked(keys: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """The groups of indices that share a key, directly or by others between them."""
    group_of: dict[Hashable, list[int]] = {}
    for index, keys_of_one in enumerate(keys):
        own, joined = list(keys_of_one), [index]
        for group in {id(group_of[key]): group_of[key] for key in own if key in group_of}.values():
            joined += group
        # All keys of the joined groups lead to the new group.
        members = set(joined)
        group_of = {key: joined if members.intersection(group) else group for key, group in group_of.items()}
        group_of |= dict.fromkeys(own, joined)
    groups = {id(group): sorted(group) for group in group_of.values()}
    return sorted(groups.values())


def pad_frames(pieces: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Frames int ``[T, V]`` and marks ``[T]`` of pieces as one batch, which is 0 after the end of each piece."""
    lengths = np.array([len(frames) for frames, _ in pieces], np.int32)
    inputs = np.zeros((len(pieces), lengths.max(), pieces[0][0].shape[1]), np.int32)
    padded = np.zeros(inputs.shape[:2], np.int32)
    for row, (frames, marks) in enumerate(pieces):
        inputs[row, : len(frames)], padded[row, : len(frames)] = frames, marks
    return {"inputs": inputs, "marks": padded, "lengths": lengths}
