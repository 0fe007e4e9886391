"""Frames hold what sounds when they begin; transposition keeps intervals and rests; melodies are read from text."""

from fractions import Fraction

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.music.frames import frames_of, marks_of
from dlcore.data.music.musicxml import Note


def sounding(parts, per_quarter):
    """The same frames by asking, at each time, which note sounds."""
    end = max(note.start + note.duration for part in parts for note in part)
    rows = []
    while Fraction(len(rows), per_quarter) < end:
        time = Fraction(len(rows), per_quarter)
        rows.append(
            [sum(p for start, length, p, *_ in part if start <= time < start + length) for part in parts]
        )
    return rows


@pytest.mark.parametrize("per_quarter", [1, 2, 4])
def test_frames_hold_what_sounds_at_their_time(per_quarter):
    generator = np.random.default_rng(0)
    parts = []
    for _ in range(3):
        time, part = Fraction(0), []
        for pitch in generator.integers(0, 90, 20):
            length = Fraction(int(generator.integers(1, 9)), int(generator.choice([2, 3, 4, 8])))
            part.append(Note(time, length, int(pitch)))
            time += length
        parts.append(part)
    frames = frames_of(parts, per_quarter)
    assert frames.dtype == np.int32
    assert frames.tolist() == sounding(parts, per_quarter)


def test_each_row_moves_by_one_distance_and_rests_stay():
    notes = np.array([[60, 0, 64], [50, 52, 0]] * 50, np.int32)
    batch = {"inputs": notes, "labels": notes[..., None] + 0, "lengths": np.full(100, 3)}
    moved = dl.data.random_transposition(3)(batch, np.random.default_rng(0))
    assert ((moved["inputs"] == 0) == (notes == 0)).all()
    assert (moved["labels"][..., 0] == moved["inputs"]).all()  # inputs and labels move together
    assert moved["inputs"].dtype == np.int32
    distances = [
        set((after - before)[before > 0]) for before, after in zip(notes, moved["inputs"], strict=True)
    ]
    assert all(len(distance) == 1 for distance in distances)
    assert set.union(*distances) == set(range(-3, 4))
    assert moved["lengths"] is batch["lengths"]
    assert (batch["inputs"] == notes).all()


def test_notes_at_the_border_stay_notes():
    batch = {"inputs": np.array([[1, 127]] * 20)}
    moved = dl.data.random_transposition(127)(batch, np.random.default_rng(0))["inputs"]
    assert moved.min() >= 1
    assert moved.max() <= 127


@pytest.mark.parametrize(
    ("text", "melody", "marks"),
    [
        ("C4 C#4 Db4 B3 Cb4", [60, 61, 61, 59, 59], [1, 1, 1, 1, 1]),
        (" a4*2,r | R*2 60 ", [69, 69, 0, 0, 0, 60], [1, 0, 0, 0, 0, 1]),
        ("C-1*3 G9".replace("C-1", "C#-1"), [1, 1, 1, 127], [1, 0, 0, 1]),
        ("60*2^ 60^ r^ 60", [60, 60, 60, 0, 60], [3, 2, 3, 0, 1]),
    ],
)
def test_melodies_are_read_with_their_marks(text, melody, marks):
    assert [array.tolist() for array in dl.data.parse_melody(text)] == [melody, marks]


def test_a_tied_note_does_not_begin_and_a_note_between_frames_has_no_mark():
    quarter, eighth = Fraction(1), Fraction(1, 2)
    part = [
        Note(Fraction(0), quarter, 60),
        Note(quarter, quarter, 60, tied=True, fermata=True),
        Note(2 * quarter, eighth, 62),
        Note(2 * quarter + eighth, eighth, 64, fermata=True),
        Note(3 * quarter, quarter, 65),
    ]
    assert marks_of(part, 1, 5).tolist() == [1, 2, 1, 1, 0]
    assert marks_of(part, 2, 8).tolist() == [1, 0, 2, 2, 1, 3, 1, 0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "got '', expected a note"),
        ("H4", "got 'H4', expected a note"),
        ("C4*", r"got 'C4\*'"),
        ("128", "MIDI numbers 1 to 127"),
        ("C-1", "MIDI numbers 1 to 127"),
        ("0", "MIDI numbers 1 to 127"),
        ("r r", "without a note"),
        ("60*0 61", r"got '60\*0'"),
        ("C4^*2", r"got 'C4\^\*2'"),
    ],
)
def test_what_is_no_melody_is_named(text, fault):
    with pytest.raises(ValueError, match=f"text: got .*{fault.removeprefix('got ')}"):
        dl.data.parse_melody(text)
