"""Texts of settings: each type hint reads, writes, checks and describes its values."""

from typing import Literal

import pytest

from dlcore.config.text import cast_text, describe_type, fits, read_text, to_text
from tests.helpers.capitals import Capitals

SIZES = tuple[int, ...]
CHOICE = Literal["a", "b"]


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "12", 12),
        (int, " -3 ", -3),
        (int, "1e4", 10_000),
        (float, "0", 0.0),
        (float, "3e-4", 3e-4),
        (float | None, "none", None),
        (float | None, "None", None),
        (SIZES, "8,16,32", (8, 16, 32)),
        (SIZES, "4", (4,)),
        (SIZES, "", ()),
        (CHOICE, "b", "b"),
        (Literal[1, 2], "2", 2),
        (bool, "true", True),
        (bool, "False", False),
        (bool, "0", False),
        (str, "none", "none"),
        (str | None, "none", None),
        (str | None, "/data", "/data"),
        (int | Capitals, "1000", 1000),
        (Capitals | int | None, "7", 7),
        (Capitals | int | None, "none", None),
        (int | Capitals, "LOUD", Capitals("LOUD")),
        (str | Capitals, "LOUD", "LOUD"),
        (Literal["A", "b"] | Capitals, "A", "A"),
        (Literal["A", "b"] | Capitals, "LOUD", Capitals("LOUD")),
    ],
)
def test_text_is_read_by_type(hint, text, value):
    read = read_text(text, hint)
    assert read == value
    assert type(read) is type(value)
    assert read_text(to_text(value), hint) == value


def test_each_element_of_a_tuple_has_its_own_type():
    read = read_text("2,LOUD", tuple[int | Capitals, ...])
    assert read == (2, "LOUD")
    assert list(map(type, read)) == [int, Capitals]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "1.5"),
        (int, "many"),
        (int, "none"),
        (int, "inf"),
        (float, "fast"),
        (SIZES, "8,x"),
        (CHOICE, "c"),
        (bool, "perhaps"),
        (int | Capitals, "quiet"),
    ],
)
def test_text_of_another_type_is_refused(hint, text):
    with pytest.raises(ValueError, match=f"^text: got '{text}', expected {describe_type(hint)}$"):
        read_text(text, hint)


@pytest.mark.parametrize(
    ("value", "hint", "fitting"),
    [
        (1, int, True),
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (True, float, False),
        (True, bool, True),
        (None, int, False),
        (None, int | None, True),
        (float("nan"), float, False),
        (float("inf"), float, False),
        (-1, int, False),
        (8, int, False),
        (7, int, True),
        ((1, 7), SIZES, True),
        ((1, 8), SIZES, False),
        ([1], SIZES, False),
        ("a", CHOICE, True),
        ("c", CHOICE, False),
        ("LOUD", Capitals, False),
        (Capitals("LOUD"), int | Capitals, True),
    ],
)
def test_values_fit_by_type_and_bounds(value, hint, fitting):
    assert fits(value, hint, {">=": 0, "<": 8}) is fitting


def test_plain_text_becomes_the_first_type_that_accepts_it():
    assert type(cast_text("LOUD", int | Capitals)) is Capitals
    assert type(cast_text("quiet", int | Capitals)) is str
    assert cast_text(3, int | Capitals) == 3
    assert list(map(type, cast_text((1, "LOUD"), tuple[int | Capitals, ...]))) == [int, Capitals]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "an integer >= 1"),
        (float | None, "a number >= 1, or none"),
        (bool, "true or false"),
        (str, "text"),
        (CHOICE, "one of a, b"),
        (tuple[int | Capitals, ...], "comma-separated, each an integer >= 1, or text in capitals"),
    ],
)
def test_a_type_is_described_in_words(hint, words):
    assert describe_type(hint, ">= 1") == words
