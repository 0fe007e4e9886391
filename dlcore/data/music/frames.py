"""Music as frames: which pitch each voice sounds at regular times; transposition, and melodies as text.

Voices are integers ``[..., T, V]`` or ``[..., T]``: MIDI numbers, 60 for the middle C, and 0 for a rest. A frame says
what sounds when it begins. So a held note and one that is struck again are the same, and a note that begins and ends
between two frames is not there. What a melody has besides its pitches are marks, integers ``[..., T]``: `BEGINS` in the
frame in which a note begins, and `FERMATA` in all frames of a note that has one; 3 is both, and 0 is neither.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from dlcore.data.batch import Batch, Transform, check_generator, get_field
from dlcore.data.music.musicxml import REST, STEPS, Note
from dlcore.utils.checks import check_instance, check_integer, shown

WORD = re.compile(r"(?:([A-Ga-g])([#b]?)(-?\d)|(\d{1,3})|([rR]))(?:\*([1-9]\d{0,2}))?(\^)?")
BEGINS, FERMATA = 1, 2


def frames_of(parts: Sequence[Sequence[Note]], per_quarter: int) -> np.ndarray:
    """The frames int32 ``[T, V]`` of a score, one column for each part.

    Args:
        parts: the notes of each part; a part that ends before the last one rests.
        per_quarter: number of frames in a quarter.

    >>> from fractions import Fraction
    >>> notes = [Note(Fraction(0), Fraction(1), 60), Note(Fraction(1), Fraction(1, 2), 62)]
    >>> frames_of([notes], 2).ravel().tolist()
    [60, 60, 62]
    """
    ends = [note.start + note.duration for part in parts for note in part[-1:]]
    frames = np.full((-int(-max(ends) * per_quarter // 1), len(parts)), REST, np.int32)
    for voice, part in enumerate(parts):
        for note in part:
            frames[slice(*_frames_of_note(note, per_quarter)), voice] = note.pitch
    return frames


def marks_of(part: Sequence[Note], per_quarter: int, count: int) -> np.ndarray:
    """The marks int32 ``[count]`` of a part.

    Args:
        part: the notes.
        per_quarter: number of frames in a quarter.
        count: the number of frames; those after the part's end have no mark.

    >>> from fractions import Fraction
    >>> half, quarter = Fraction(2), Fraction(1)
    >>> part = [Note(Fraction(0), quarter, 60), Note(quarter, half, 60, fermata=True)]
    >>> marks_of(part, 1, 4).tolist()
    [1, 3, 2, 0]
    """
    marks = np.zeros(count, np.int32)
    for note in part:
        first, after = _frames_of_note(note, per_quarter)
        if note.pitch != REST and first < after:
            marks[first:after] = FERMATA * note.fermata
            marks[first] += BEGINS * (not note.tied)
    return marks


def marks_of_changes(melody: np.ndarray) -> np.ndarray:
    """The marks of a melody ``[T]`` of which only the pitches are known: a note begins where the pitch changes.

    >>> marks_of_changes(np.array([60, 60, 0, 62])).tolist()
    [1, 0, 0, 1]
    """
    return (BEGINS * ((melody != REST) & (np.diff(melody, prepend=REST) != 0))).astype(np.int32)


def _frames_of_note(note: Note, per_quarter: int) -> tuple[int, int]:
    """The first frame of a note, and the one after its last."""
    start, end = (-int(-time * per_quarter // 1) for time in (note.start, note.start + note.duration))
    return start, end


def random_transposition(semitones: int, fields: Sequence[str] = ("inputs", "labels")) -> Transform:
    """Returns a transform that moves each row of a batch up or down, all of its notes by the same number of semitones.

    Rests and padding, which are 0, stay. A note that would leave 1..127 becomes the nearest of these numbers.

    Args:
        semitones: the largest distance; each row's distance is an integer from -semitones to semitones.
        fields: the fields that hold MIDI numbers, ``[B, ...]``. A batch need not have all of them.

    Returns:
        ``transform(batch, generator) -> batch``.

    Raises:
        TypeError: the distance is not an integer, or the fields are not names.
        ValueError: the distance is not in 0..127.

    >>> batch = {"inputs": np.array([[60, 0, 64]])}
    >>> moved = random_transposition(2)(batch, np.random.default_rng(0))["inputs"]
    >>> moved.tolist()
    [[62, 0, 66]]
    """
    check_integer("semitones", semitones, 0, 127)
    check_instance("fields", fields, (tuple, list), 'names of fields, such as ("inputs",)')
    for field in fields:
        check_instance("fields", field, str, "names of fields")

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        check_generator(generator)
        rows = len(get_field(batch, fields[0])) if fields else 0
        distance = generator.integers(-semitones, semitones + 1, rows)
        return {name: _moved(array, distance) if name in fields else array for name, array in batch.items()}

    return transform


def _moved(notes: np.ndarray, distance: np.ndarray) -> np.ndarray:
    moved = np.clip(notes + distance.reshape(-1, *[1] * (notes.ndim - 1)), 1, 127)
    return np.where(notes == REST, REST, moved).astype(notes.dtype)


def parse_melody(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The notes and the marks, both int32 ``[T]``, of a melody that is written as words.

    Args:
        text: notes with blanks, commas or bars ``|`` between them. A note is a name with its octave (``C4`` is the
            middle C, ``F#5``, ``Bb4``), a MIDI number, or ``r`` for a rest; ``*n`` after it makes it n frames long, and
            then ``^`` gives it a fermata.

    Raises:
        TypeError: the text is none.
        ValueError: a word is no note, a note is not in 1..127, or there is no note.

    >>> notes, marks = parse_melody("G4*2 A4 | 71*2^ r")
    >>> notes.tolist(), marks.tolist()
    ([67, 67, 69, 71, 71, 0], [1, 0, 1, 3, 2, 0])
    """
    check_instance("text", text, str, 'a melody such as "G4*2 A4 B4"')
    part, end = list[Note](), Fraction(0)
    for word in re.split(r"[\s,|]+", text.strip(" \t\r\n,|")):
        part.append(_parse_note(word, end))
        end += part[-1].duration
    notes = frames_of([part], 1)[:, 0]
    if not notes.any():
        raise ValueError(f'text: got {shown(text)} without a note, expected a melody such as "G4*2 A4 B4"')
    return notes, marks_of(part, 1, len(notes))


def _parse_note(word: str, start: Fraction) -> Note:
    found = WORD.fullmatch(word)
    if not found:
        raise ValueError(f"text: got {word!r}, expected a note such as C4, F#5, Bb4*2, B4*4^, 60 or r")
    step, sign, octave, number, rest, count, fermata = found.groups()
    if rest:
        pitch = REST
    else:
        pitch = int(number) if number else _number(step, sign, octave)
        if not 1 <= pitch <= 127:
            raise ValueError(f"text: got {word!r}, expected notes of the MIDI numbers 1 to 127, up to G9")
    return Note(start, Fraction(count or 1), pitch, fermata=bool(fermata))


def _number(step: str, sign: str, octave: str) -> int:
    return 12 * (int(octave) + 1) + STEPS[step.upper()] + {"#": 1, "b": -1, "": 0}[sign]
