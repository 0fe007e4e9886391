"""MIDI files hold the voices, as a reader of bytes and music21 read them."""

import builtins

import numpy as np
import pytest

import dlcore as dl
from tests.helpers.midi_reader import frames_in, read_midi

VOICES = np.array([[72, 67, 0, 48], [72, 0, 0, 48], [74, 67, 0, 50], [0, 67, 0, 50]])


@pytest.mark.parametrize("frames_per_quarter", [1, 2, 4])
def test_a_reader_of_bytes_finds_the_voices(frames_per_quarter):
    frames, tempo, names = frames_in(
        dl.data.midi_file(VOICES, frames_per_quarter, tempo=96), frames_per_quarter
    )
    assert frames.tolist() == VOICES.tolist()
    assert tempo == pytest.approx(96)
    assert names == ["soprano", "alto", "tenor", "bass"]


def test_random_voices_come_back():
    voices = np.random.default_rng(0).integers(0, 128, (300, 15)) * np.random.default_rng(1).integers(
        0, 2, (300, 15)
    )
    frames, _, names = frames_in(dl.data.midi_file(voices, 4, names=("ä",)), 4)
    assert (frames == voices).all()
    assert names == ["?", *[None] * 14]


def test_equal_frames_are_one_long_note():
    _, _, (_, soprano, _, tenor, _) = read_midi(dl.data.midi_file(VOICES, 1))
    assert soprano.notes == [(0, 960, 72), (960, 1440, 74)]
    assert tenor.notes == []
    assert tenor.end == 4 * 480


@pytest.mark.slow
def test_music21_finds_the_voices():
    midi = pytest.importorskip("music21.midi")
    file = midi.MidiFile()
    file.readstr(dl.data.midi_file(VOICES, 2))
    for track, voice in zip(file.tracks[1:], VOICES.T, strict=True):
        pitches = [event.pitch for event in track.events if event.isNoteOn()]
        runs = [run[0] for run in np.split(voice, np.flatnonzero(np.diff(voice)) + 1)]
        assert pitches == [pitch for pitch in runs if pitch]


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"voices": [[128]]}, ValueError, "voices: got 128 to 128"),
        ({"voices": [60]}, ValueError, r"voices: got shape \(1,\)"),
        ({"voices": np.zeros((1, 16), int)}, ValueError, r"voices: got shape \(1, 16\)"),
        ({"voices": [[60], []]}, TypeError, "voices: got"),
        ({"voices": [[60.0]]}, TypeError, "voices: got"),
        ({"frames_per_quarter": 7}, ValueError, "frames_per_quarter: got 7, expected a divisor of 480"),
        ({"tempo": 0}, ValueError, "tempo: got 0"),
        ({"program": 128}, ValueError, "program: got 128"),
        ({"velocity": 0}, ValueError, "velocity: got 0"),
        ({"names": "abcd"}, TypeError, "names: got 'abcd'"),
    ],
)
def test_bad_arguments_are_named(change, error, named):
    with pytest.raises(error, match=named):
        dl.data.midi_file(**{"voices": VOICES, "frames_per_quarter": 2, **change})


def test_a_missing_mido_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "mido":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"mido: .*pip install 'dlcore\[experiments\]'"):
        dl.data.midi_file(VOICES, 2)
