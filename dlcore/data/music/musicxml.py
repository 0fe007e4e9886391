"""Reads scores in MusicXML: the notes of each part as numbers.

A score is a file ``.xml`` or ``.mxl``, which is a zip archive of one. Only what is heard is read: pitches, durations
and rests. Grace notes are left out, as they have no duration, and repeats are not played twice.
"""

import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

REST = 0
"""The number that stands for silence where others are MIDI numbers."""
NOTES = 128
"""MIDI numbers are 0 to 127."""

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Semitones from C up to each step of the scale."""


class Note(NamedTuple):
    """A note or a rest of a part.

    Attributes:
        start: quarters from the beginning of the part.
        duration: in quarters.
        pitch: the MIDI number, 60 for the middle C; `REST` for a rest.
        tied: it is held on from the note before.
        fermata: it has a fermata, as chorales have at the end of a line.
    """

    start: Fraction
    duration: Fraction
    pitch: int
    tied: bool = False
    fermata: bool = False


def read_parts(path: Path, count: int) -> list[list[Note]]:
    """The notes of each part of a score, in the order of the file.

    A note over a bar line is as many notes as are written; all but the first are tied.

    Args:
        path: a file ``.mxl`` or ``.xml`` with a partwise score, whose parts have one voice each.
        count: the number of parts that the score must have.

    Returns:
        The notes of each part; an empty list if the score has another number of parts.

    Raises:
        ValueError: the file is damaged or holds something else.
    """
    try:
        root = ElementTree.fromstring(_read_archive(path) if path.suffix == ".mxl" else path.read_bytes())
        parts = root.findall("part")
        if root.tag != "score-partwise" or not parts:
            raise ValueError(f"the root <{root.tag}> with {len(parts)} parts")
        return [list(_notes(part)) for part in parts] if len(parts) == count else []
    except (ValueError, KeyError, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: got a file that is no score of one voice a part ({error}), expected MusicXML; fetch it anew"
        ) from error


def _read_archive(path: Path) -> bytes:
    """The score of an archive: its only file of XML outside of ``META-INF``."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("xml")]
        names = [name for name in names if not name.startswith("META-INF/")]
        if len(names) != 1:
            raise ValueError(f"{len(names)} scores in the archive")
        return archive.read(names[0])


def _notes(part: ElementTree.Element) -> Iterator[Note]:
    time, divisions = Fraction(0), 1  # the file counts durations in parts of a quarter
    for element in (element for measure in part.findall("measure") for element in measure):
        if element.tag == "attributes":
            divisions = int(element.findtext("divisions", str(divisions)))
        elif element.tag == "backup":
            raise ValueError("a part with several voices")
        elif element.tag == "forward" or (element.tag == "note" and _counts(element)):
            duration = Fraction(int(element.findtext("duration", "")), divisions)
            tied = any(tie.get("type") == "stop" for tie in element.iter("tie"))
            fermata = element.find("notations/fermata") is not None
            yield Note(time, duration, _pitch(element.find("pitch")), tied, fermata)
            time += duration


def _counts(note: ElementTree.Element) -> bool:
    """False for a grace note and for all notes of a chord but its first."""
    return note.find("grace") is None and note.find("chord") is None


def _pitch(pitch: ElementTree.Element | None) -> int:
    if pitch is None:
        return REST
    octave, alter = int(pitch.findtext("octave", "")), float(pitch.findtext("alter", "0"))
    return 12 * (octave + 1) + STEPS[pitch.findtext("step", "")] + int(alter)
