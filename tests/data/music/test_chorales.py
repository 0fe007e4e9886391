"""Bach's chorales have the counts and ranges that are published for them, and no tune is in two parts."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.music import chorales
from dlcore.data.music.musicxml import Note
from tests.helpers.packages import needs_package


@needs_package("music21")
def test_a_few_chorales_are_split_padded_and_the_same_again():
    parts = dl.data.bach_chorales("eighth", limit=8)
    again = dl.data.bach_chorales("eighth", limit=8)
    assert sum(len(part["lengths"]) for part in parts) == 8
    for part, same in zip(parts, again, strict=True):
        inputs, lengths = part["inputs"], part["lengths"]
        assert inputs.dtype == lengths.dtype == np.int32
        assert inputs.shape == (len(lengths), lengths.max(), 4)
        for row, length in zip(inputs, lengths, strict=True):
            assert not row[length:].any()
            assert (np.diff(row[:length].mean(axis=0)) < 0).all()  # soprano above alto above tenor above bass
        assert (inputs == same["inputs"]).all()


@needs_package("music21")
def test_a_chorale_has_its_known_beginning():
    """BWV 10.7, Meine Seele erhebt den Herren, begins in G minor with D5, G4, Bb3 and G3."""
    (chorale,) = chorales.read_chorales(1)
    assert chorale.name == "bwv10.7"
    assert chorales.frames_of(chorale.parts, 1)[0].tolist() == [74, 67, 58, 55]


@pytest.mark.slow
@needs_package("music21")
def test_all_chorales_have_the_published_counts_and_ranges():
    found = chorales.read_chorales()
    keys = [list(chorales.tune_keys(chorale.parts[0])) for chorale in found]
    frames = [chorales.frames_of(chorale.parts, 2) for chorale in found]
    assert len(found) == 365
    assert len({own[0] for own in keys}) == 258
    assert sum(map(len, frames)) == 39_800
    pitches = [np.concatenate([piece[:, voice] for piece in frames]) for voice in range(4)]
    ranges = [(voice[voice > 0].min(), voice.max()) for voice in pitches]
    assert ranges == [(57, 81), (53, 74), (48, 69), (36, 64)]
    parts = chorales.split_tunes([iter(own) for own in keys])
    assert [len(part) for part in parts] == [241, 41, 83]
    openings = [{key for index in part for key in keys[index]} for part in parts]
    assert not openings[0] & openings[1]
    assert not openings[0] & openings[2]
    assert not openings[1] & openings[2]


@pytest.mark.slow
@needs_package("music21")
def test_frames_are_those_that_music21_reads():
    converter = pytest.importorskip("music21.converter")
    folder = chorales.package_folder("music21") / "music21" / "corpus" / "bach"
    for chorale in chorales.read_chorales(2):
        score = converter.parse(next(folder.glob(f"{chorale.name}.*")))
        for part, notes in zip(score.parts, chorale.parts, strict=True):
            theirs = {
                float(note.getOffsetInHierarchy(part)): note.pitch.midi for note in part.recurse().notes
            }
            assert theirs == {float(note.start): note.pitch for note in notes if note.pitch}


def melody(*pitches, duration=1):
    return [Note(place * duration, duration, pitch) for place, pitch in enumerate(pitches)]


def test_a_tune_is_known_in_another_key_and_in_another_meter():
    tune = 60, 62, 64, 64, 65, 67, 65, 64, 62
    first = set(chorales.tune_keys(melody(*tune)))
    assert first == set(chorales.tune_keys(melody(*(pitch + 5 for pitch in tune))))
    slower = set(chorales.tune_keys(melody(0, *tune, duration=2)))
    assert len(first & slower) == 1
    assert not first & set(chorales.tune_keys(melody(*tune[::-1])))


def test_linked_tunes_stay_together_and_every_part_has_one():
    keys = [["a"], ["b"], ["a", "c"], ["d"], ["c", "e"], ["f"], ["e"]]
    parts = chorales.split_tunes([iter(own) for own in keys])
    assert sorted(index for part in parts for index in part) == list(range(7))
    assert all(parts)
    (home,) = (part for part in parts if 0 in part)
    assert {0, 2, 4, 6} <= set(home)
    for count in range(3, 30):
        assert all(chorales.split_tunes([iter([index]) for index in range(count)]))


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"grid": "8th"}, ValueError, "grid: got '8th'"),
        ({"grid": "eighth", "limit": 2}, ValueError, "limit: got 2"),
        ({"grid": "eighth", "limit": "all"}, TypeError, "limit: got 'all'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, named):
    with pytest.raises(error, match=named):
        dl.data.bach_chorales(**arguments)


def test_too_few_tunes_are_named():
    with pytest.raises(ValueError, match="limit: got 3 chorales of 2 tunes, expected at least 3 tunes"):
        chorales.split_tunes([iter("a"), iter("a"), iter("b")])


def test_a_package_without_scores_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(chorales, "package_folder", lambda name: tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"music21: got .* without Bach's chorales.*launch/data music21"
    ):
        dl.data.bach_chorales()
