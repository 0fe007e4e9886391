"""Good calls of the functions of `dlcore.plots`, with the kind of each argument."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    by_name,
    fields,
    integer,
    kind,
    label,
    number,
    numbers,
    sequence,
)
from tests.helpers.calls.music import VOICES

NAMES = sequence(["a", "b"], more={"one name too few": ["a"]}).without("numbers")
ROWS = kind(
    [(0, "train/loss", 1.0), (1, "train/loss", 0.5)],
    {
        "None": None,
        "text": "text",
        "3": 3,
        "numbers": [1.0, 2.0],
        "pairs": [(0, "a")],
    },
    names=("rows",),
)


def call(run: Callable[..., Any], name: str = "", /, **arguments: Argument) -> Call:
    return Call(f"plots: {name or run.__name__}", run, arguments, traced=False)


def classes(*good: int) -> Argument:
    """Integers ``[N]`` of one of two classes."""
    wrong = {
        "floats": np.array([0.5, 0.5]),
        "-1": np.full(len(good), -1),
        "too large": np.full(len(good), 9),
        "too many": [0] * 9,
    }
    return kind(np.array(good), numbers(len(good)).bad | wrong)


def truths(*shape: int) -> Argument:
    known = numbers(*shape)
    return kind(known.good > 0.4, {**known.bad, "shares": known.good})


def plots() -> Iterator[Call]:
    yield call(
        dl.plots.new_figure,
        width=number(2.0, wrong=(0.0, -1.0, float("inf"))),
        height=number(2.0, wrong=(0.0, -1.0, float("inf"))),
    )
    images, labels, shares = numbers(2, 4, 4, 1), classes(0, 1), numbers(2, 2)
    yield call(dl.plots.confusion_matrix, labels=labels, predictions=classes(1, 1), names=NAMES)
    counts = numbers(2, 2).also(below_0=-np.ones((2, 2)))
    yield call(dl.plots.confusion_counts, counts=counts, names=NAMES)
    yield call(
        dl.plots.worst_mistakes,
        images=images,
        labels=labels,
        probabilities=shares,
        names=NAMES,
        count=integer(2),
    )
    kernel, maps = numbers(3, 3, 1, 2), by_name(numbers(2, 2, 2).good, numbers(2, 2, 2), names=("block", "a"))
    yield call(dl.plots.filters, kernel=kernel)
    yield call(dl.plots.feature_maps, image=numbers(4, 4, 1), maps=maps)
    test = fields({"inputs": images.good, "labels": labels.good}, names=("test", "images"))
    test = test.without("inputs that are a list", "labels that are a list")
    yield call(
        dl.plots.image_classifier, test=test, probabilities=shares, kernel=kernel, maps=maps, names=NAMES
    )
    yield from grids()
    yield call(
        dl.plots.accuracy_by_length,
        lengths=classes(3, 4).without("too large"),
        correct=truths(2),
        unit=label(),
        bins=integer(2),
    )
    chance = number(0.5, wrong=(-1.0, 2.0))
    yield call(dl.plots.accuracy_by_place, correct=truths(2, 2), chance=chance)
    steps = classes(2, 1).also(longer_than_the_answers=np.array([3, 1]))
    yield call(dl.plots.accuracy_over_time, lengths=steps, correct=truths(2, 2), unit=label())
    yield call(
        dl.plots.film_strip,
        clips=numbers(2, 2, 3, 3, 1),
        lengths=steps,
        truths=NAMES.without("nothing"),
        predictions=NAMES.without("nothing"),
    )
    yield call(
        dl.plots.image_attention,
        image=numbers(4, 4, 1),
        weights=numbers(2, 2, 2).also(below_0=-np.ones((2, 2, 2))),
        words=NAMES.without("nothing"),
    )
    pairs = numbers(3)._replace(names=("targets", "predictions"))
    yield call(dl.plots.predicted_against_true, targets=pairs, predictions=pairs)
    matrix = numbers(2, 2).also(above_1=np.full((2, 2), 2.0))
    tokens = NAMES._replace(names=("weights",))
    yield call(dl.plots.attention, weights=matrix, rows=tokens, columns=tokens, title=label())
    bad = {
        "None": None,
        "text": "text",
        "3": 3,
        "nothing": [],
        "a number in it": [[3]],
        "a text more": [["a"]] * 2,
    }
    yield call(
        dl.plots.token_values,
        tokens=kind([["a", "b"]], bad, names=("tokens", "values")),
        values=numbers(1, 2).without("a 0-d array")._replace(names=("values", "tokens")),
        titles=kind(["a"], {"None": None, "text": "text", "3": 3, "too many": ["a"] * 3}),
        label=label(),
        width=integer(20),
    )
    finite = numbers(2, 5).also(NaN=np.full((2, 5), np.nan))
    yield call(dl.plots.bits_by_context, bits=finite, unit=label())
    voices = VOICES.without("rows of several lengths").also(rank_3=np.ones((2, 2, 2), int))
    yield call(
        dl.plots.piano_roll,
        voices=voices,
        frames_per_quarter=integer(2),
        names=NAMES.without("one name too few", "nothing"),
        given=integer(1, least=0).also(too_large=3),
    )
    yield call(
        dl.plots.sentence_attention,
        sentences=tokens,
        weights=matrix,
        supporting=kind((1,), {"3": 3, "text": "text", "0": (0,), "too large": (3,), "2.5": (2.5,)}),
        title=label(),
    )
    sets = NAMES.without("nothing", "one name too few")
    yield call(dl.plots.learning_curves, rows=ROWS, best=label("accuracy"), eval_sets=sets)


def grids() -> Iterator[Call]:
    axes = dl.plots.new_figure(2, 2).subplots()
    place = kind(
        (0, 0),
        {"None": None, "text": "text", "3": 3, "one number": (0,), "texts": ("a", "b"), "NaN": (np.nan, 0)},
    )
    labels = kind(["a", "b"], {"None": None, "3": 3, "too few": ["a"], "a text": "a"})
    known = {
        "axes": kind(axes, {"None": None, "text": "text", "3": 3}),
        "values": numbers(2, 2).without("a 0-d array"),
        "title": label(),
        "at": place,
        "marked": kind(False, {"None": None, "text": "text", "another shape": [True] * 3}, "None"),
        "row_labels": labels,
        "column_labels": labels,
        "fontsize": number(9.0, wrong=(0.0, -1.0, float("inf"))),
    }
    yield call(dl.plots.number_grid, **known)
    yield call(
        dl.plots.number_row,
        axes=known["axes"],
        left=number(0.0),
        top=number(0.0),
        grids=by_name(numbers(2, 2).good, known["values"], names=("values", "title")),
    )
