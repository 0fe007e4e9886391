"""Reads a standard MIDI file byte by byte, without a library: the notes of its tracks."""

import struct
from typing import NamedTuple

import numpy as np


class Track(NamedTuple):
    name: str | None
    notes: list[tuple[int, int, int]]  # first tick, last tick, pitch
    end: int


def read_midi(content: bytes) -> tuple[int, float | None, list[Track]]:
    """The ticks of a quarter, the tempo in quarters a minute, and the tracks."""
    assert content[:4] == b"MThd"
    size, form, count, division = struct.unpack(">IHHH", content[4:14])
    assert (size, form) == (6, 1)
    place, tempo, tracks = 14, None, []
    for _ in range(count):
        assert content[place : place + 4] == b"MTrk"
        (length,) = struct.unpack(">I", content[place + 4 : place + 8])
        track, own = _read_track(content[place + 8 : place + 8 + length])
        tracks.append(track)
        tempo = own or tempo
        place += 8 + length
    assert place == len(content)
    return division, tempo, tracks


def frames_in(content, frames_per_quarter):
    """The frames of a file, and what else it says."""
    division, tempo, (_, *tracks) = read_midi(content)
    ticks = division // frames_per_quarter
    frames = np.zeros((tracks[0].end // ticks, len(tracks)), int)
    for voice, track in enumerate(tracks):
        assert track.end == tracks[0].end
        for first, last, pitch in track.notes:
            assert first % ticks == last % ticks == 0
            frames[first // ticks : last // ticks, voice] = pitch
    return frames, tempo, [track.name for track in tracks]


def _read_track(data: bytes) -> tuple[Track, float | None]:
    place = time = status = 0
    name = tempo = end = None
    on, notes = {}, []
    while end is None:
        delta, place = _number(data, place)
        time += delta
        if data[place] >= 0x80:
            status, place = data[place], place + 1
        if status == 0xFF:
            kind = data[place]
            length, start = _number(data, place + 1)
            text, place = data[start : start + length], start + length
            if kind == 0x03:
                name = text.decode("latin1")
            elif kind == 0x51:
                tempo = 60e6 / int.from_bytes(text, "big")
            elif kind == 0x2F:
                end = time
        elif status >> 4 in (0x8, 0x9):
            pitch, velocity, place = data[place], data[place + 1], place + 2
            if status >> 4 == 0x9 and velocity:
                assert pitch not in on
                on[pitch] = time
            else:
                notes.append((on.pop(pitch), time, pitch))
        else:
            assert status >> 4 == 0xC, hex(status)
            place += 1
    assert not on
    assert place == len(data)
    return Track(name, notes, end), tempo


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, seven bits a byte, and the place after it."""
    value = 0
    while True:
        value, place = value << 7 | data[place] & 0x7F, place + 1
        if data[place - 1] < 0x80:
            return value, place
