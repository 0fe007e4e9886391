"""The baselines are those of counting by hand."""

import math

import numpy as np
import pytest

import dlcore as dl

GENERATOR = np.random.default_rng(0)


def part(rows, longest=20):
    return {
        "inputs": GENERATOR.integers(60, 64, (rows, longest, 2)),
        "lengths": GENERATOR.integers(5, longest + 1, rows),
    }


TRAIN, TEST = part(6), part(3)


def melodies(part, voice):
    return [row[:length, voice].tolist() for row, length in zip(part["inputs"], part["lengths"], strict=True)]


def previous_frame_by_hand():
    total = 0.0
    for voice in range(2):
        pairs = [
            (b, a) for notes in melodies(TRAIN, voice) for b, a in zip([None, *notes], notes, strict=False)
        ]
        for notes in melodies(TEST, voice):
            for before, note in zip([None, *notes], notes, strict=False):
                share = (sum(a == note for _, a in pairs) + 1 / 128) / (len(pairs) + 1)
                seen = sum(b == before for b, _ in pairs)
                total -= math.log((pairs.count((before, note)) + 5 * share) / (seen + 5))
    return total / TEST["lengths"].sum()


def keys_by_hand():
    counts = {}
    total = 0.0
    for measured, known in ((False, TRAIN), (True, TEST)):
        for row, length in zip(known["inputs"], known["lengths"], strict=True):
            before = None
            for frame in row[:length]:
                for key in range(21, 109):
                    state = None if before is None else key in before
                    seen = counts.setdefault((key, state), {True: 0.5, False: 0.5})
                    if measured:
                        total -= math.log(seen[key in frame] / sum(seen.values()))
                    else:
                        seen[key in frame] += 1
                before = frame
    return total / TEST["lengths"].sum()


def test_counts_are_those_by_hand():
    found = dl.data.chorale_baselines(TRAIN, TEST)
    assert found["previous_frame"] == pytest.approx(previous_frame_by_hand())
    assert found["keys_previous_frame"] == pytest.approx(keys_by_hand())
    assert found["marginal"] == pytest.approx(2 * math.log(4), rel=0.1)


def test_padding_does_not_count():
    padded = [{**known, "inputs": known["inputs"].copy()} for known in (TRAIN, TEST)]
    for known in padded:
        for row, length in zip(known["inputs"], known["lengths"], strict=True):
            row[length:] = 99
    assert dl.data.chorale_baselines(*padded) == dl.data.chorale_baselines(TRAIN, TEST)
