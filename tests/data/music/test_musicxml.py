"""Scores in MusicXML give the notes that are heard, in quarters and MIDI numbers."""

import zipfile
from fractions import Fraction

import pytest

from dlcore.data.music.musicxml import Note, read_parts

PITCH = "<pitch><step>{}</step><alter>{}</alter><octave>{}</octave></pitch>"
MIDDLE_C, FLAT = PITCH.format("C", 0, 4), PITCH.format("B", -1, 3)


def note(content, duration):
    return f"<note>{content}<duration>{duration}</duration></note>"


def score(*measures):
    inside = "".join(f"<measure>{measure}</measure>" for measure in measures)
    return f"<score-partwise><part>{inside}</part></score-partwise>"


def written(tmp_path, text, name="a.xml"):
    path = tmp_path / name
    if name.endswith(".mxl"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("META-INF/container.xml", "<container/>")
            archive.writestr("a.xml", text)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.xml", "a.mxl"])
def test_notes_rests_and_changes_of_the_unit(tmp_path, name):
    text = score(
        "<attributes><divisions>2</divisions></attributes>" + note(MIDDLE_C, 1) + note("<rest/>", 3),
        "<attributes><divisions>3</divisions></attributes>" + note(FLAT, 1),
        "<attributes/><forward><duration>3</duration></forward>" + note(MIDDLE_C, 3),
    )
    half, third = Fraction(1, 2), Fraction(1, 3)
    assert read_parts(written(tmp_path, text, name), 1) == [
        [
            Note(Fraction(0), half, 60),
            Note(half, Fraction(3, 2), 0),
            Note(Fraction(2), third, 58),
            Note(2 + third, Fraction(1), 0),
            Note(3 + third, Fraction(1), 60),
        ]
    ]


def test_ties_and_fermatas_are_read(tmp_path):
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    fermata = "<notations><fermata/></notations>"
    text = score(*(note(MIDDLE_C + more, 1) for more in (start, stop + start, stop + fermata, "")))
    (part,) = read_parts(written(tmp_path, text), 1)
    assert [(note.tied, note.fermata) for note in part] == [
        (False, False),
        (True, False),
        (True, True),
        (False, False),
    ]


def test_grace_notes_and_the_rest_of_a_chord_take_no_time(tmp_path):
    chord = note("<chord/>" + FLAT, 1)
    text = score(f"<note><grace/>{FLAT}</note>" + note(MIDDLE_C, 1) + chord + note(MIDDLE_C, 1))
    (part,) = read_parts(written(tmp_path, text), 1)
    assert [(note.start, note.pitch) for note in part] == [(0, 60), (1, 60)]


def test_a_score_with_another_number_of_parts_is_empty(tmp_path):
    assert read_parts(written(tmp_path, score(note(MIDDLE_C, 1))), 4) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<score-partwise", "unclosed token"),
        ("<score-partwise/>", "with 0 parts"),
        ("<opus><part/></opus>", "the root <opus>"),
        (score(note(MIDDLE_C, 1) + "<backup/>"), "several voices"),
        (score(note(MIDDLE_C, "x")), "invalid literal"),
        (score(note(PITCH.format("H", 0, 4), 1)), "'H'"),
    ],
)
def test_a_damaged_score_is_named(tmp_path, text, fault):
    with pytest.raises(ValueError, match=rf"a\.xml: got a file .*{fault}.*fetch it anew"):
        read_parts(written(tmp_path, text), 1)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "a.mxl"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a zip file"):
        read_parts(path, 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(ValueError, match="0 scores in the archive"):
        read_parts(path, 1)
