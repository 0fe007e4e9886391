"""Writes voices as a standard MIDI file, which every music program plays."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.data.music.chorales import VOICES
from dlcore.data.music.musicxml import REST
from dlcore.utils.checks import check_instance, check_integer, check_number, shown

if TYPE_CHECKING:
    from mido import MidiFile

TICKS = 480
"""Parts of a quarter in the files, the usual number; 1, 2 and 4 frames a quarter divide it."""


def midi_file(
    voices: np.ndarray,
    frames_per_quarter: int,
    *,
    names: Sequence[str] = VOICES,
    tempo: float = 80.0,
    program: int = 52,
    velocity: int = 80,
) -> bytes:
    """The bytes of a MIDI file with a track for each voice, after one for the tempo (format 1).

    Equal frames that follow each other are one long note, since frames do not say where a note is struck again.

    Args:
        voices: integers ``[T, V]``, MIDI numbers and 0 for a rest, at most 15 voices.
        frames_per_quarter: 1 to 480, a divisor of 480.
        names: the name of each voice's track; a voice more has none.
        tempo: quarters in a minute, from 4 to 60,000.
        program: the instrument of General MIDI from 0, 52 is a choir, 19 an organ.
        velocity: loudness, 1 to 127.

    Raises:
        ModuleNotFoundError: mido is not installed.
        TypeError: an argument has another type.
        ValueError: the voices are not ``[T, V]`` in 0..127, or a number is out of its bounds.

    >>> midi_file(np.array([[72, 67, 64, 48]]), 2)[:4]
    b'MThd'
    """
    voices = check_voices(voices)
    check_integer("frames_per_quarter", frames_per_quarter, 1, TICKS)
    if TICKS % frames_per_quarter:
        raise ValueError(f"frames_per_quarter: got {frames_per_quarter}, expected a divisor of {TICKS}")
    check_number("tempo", tempo, "[4, 60000]")
    check_integer("program", program, 0, 127)
    check_integer("velocity", velocity, 1, 127)
    check_instance("names", names, (tuple, list), "a tuple of names, one for each voice")
    for name in names:
        check_instance("names", name, str, "names of voices")
    file = _empty_file(tempo)
    for channel, voice in enumerate(voices.T):
        track = file.add_track(
            names[channel].encode("ascii", "replace").decode() if channel < len(names) else None
        )
        options = {"channel": channel if channel < 9 else channel + 1}  # channel 9 is for drums
        track += list(_messages(voice, TICKS // frames_per_quarter, program, velocity, options))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def check_voices(voices: Any, most: int = 15) -> np.ndarray:
    """The voices as an array of integers.

    Args:
        voices: what the caller got.
        most: the largest number of voices.

    Raises:
        TypeError: the voices are not integers.
        ValueError: they are not ``[T, V]`` with a frame, 1 to ``most`` voices and numbers in 0..127.
    """
    try:
        array = np.asarray(voices)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "iu":
        raise TypeError(f"voices: got {shown(voices)}, expected integers [T, V]")
    if array.ndim != 2 or not array.size or array.shape[1] > most:
        raise ValueError(
            f"voices: got shape {array.shape}, expected [T, V] with at least one frame and 1 to {most} voices"
        )
    if array.min() < 0 or array.max() > 127:
        raise ValueError(
            f"voices: got {array.min()} to {array.max()}, expected MIDI numbers of 0, a rest, to 127"
        )
    return array


def _empty_file(tempo: float) -> "MidiFile":
    try:
        import mido
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "mido: got no such package, which writes MIDI files; pip install 'dlcore[experiments]'"
        ) from error
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS)
    file.add_track().append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    return file


def _messages(
    voice: np.ndarray, ticks: int, program: int, velocity: int, options: dict[str, int]
) -> Iterator[Any]:
    """The messages of a track: each one's time is the number of ticks after the message before it."""
    from mido import Message, MetaMessage

    yield Message("program_change", program=program, **options)
    changes = np.flatnonzero(np.diff(voice)) + 1
    silence = 0
    for run in np.split(voice, changes):
        duration = len(run) * ticks
        if run[0] == REST:
            silence += duration
            continue
        yield Message("note_on", note=int(run[0]), velocity=velocity, time=silence, **options)
        yield Message("note_off", note=int(run[0]), velocity=0, time=duration, **options)
        silence = 0
    yield MetaMessage("end_of_track", time=silence)
