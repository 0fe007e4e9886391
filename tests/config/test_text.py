"""Texts of settings: each type hint reads, writes, checks and describes its values."""

from typing import Literal

import numpy as np
import pytest

from dlcore.config.text import cast_text, describe_type, fits, float32_note, read_text, to_text
from tests.helpers.bad_arguments import unclear_errors
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
        (SIZES, "4,", (4,)),
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
        (SIZES, "8,,16"),
        (SIZES, ","),
        (int, "9" * 5000),
        (int, "²"),
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
        (["a"], CHOICE, False),
        (np.array(["a", "b"]), CHOICE, False),
        (True, Literal[1, 2], False),
        (1, Literal[1, 2], True),
        (10**400, float, False),
        (10**400, int, False),
        ("LOUD", Capitals, False),
        (Capitals("LOUD"), int | Capitals, True),
    ],
)
def test_values_fit_by_type_and_bounds(value, hint, fitting):
    assert fits(value, hint, {">=": 0, "<": 8}) is fitting


@pytest.mark.parametrize(
    ("value", "bounds", "fitting", "note"),
    [
        (1e-50, {">": 0}, False, "; in float32 it is 0"),
        (1e-50, {}, False, "; in float32 it is 0"),
        (1.2e-38, {">": 0}, True, ""),
        (1.1e-38, {">": 0}, False, "; in float32 it is 0"),  # devices take subnormal numbers as 0
        (3.4e38, {}, True, ""),
        (3.5e38, {}, False, "; in float32 it is inf"),
        (-1e300, {}, False, "; in float32 it is -inf"),
        (10**400, {}, False, "; in float32 it is inf"),
        (0.99999999, {"<": 1}, False, "; in float32 it is 1"),
        (0.9999999, {"<": 1}, True, ""),
        (0.1, {"<=": 0.1}, True, ""),  # in float32, 0.1 is above 0.1
        (0.3, {">=": 0.3}, True, ""),
        (0.0, {">=": 0}, True, ""),
        (-0.1, {">": 0}, False, ""),
        (float("nan"), {">": 0}, False, ""),
    ],
)
def test_a_number_keeps_its_bounds_in_float32_too(value, bounds, fitting, note):
    assert fits(value, float, bounds) is fitting
    assert fits((value, value), tuple[float, ...], bounds) is fitting
    assert float32_note(value, bounds) == note


@pytest.mark.parametrize(
    "hint", [list[int], dict, object, tuple, tuple[int, int], int | list[int], tuple[list[int], ...], [int]]
)
def test_a_type_that_settings_cannot_have_is_refused(hint):
    for call in (lambda: describe_type(hint), lambda: fits((1,), hint, {}), lambda: read_text("1", hint)):
        with pytest.raises(TypeError, match=r"^hint: got .*, expected int, float, bool, str, Literal, tuple"):
            call()


@pytest.mark.parametrize("text", [None, 5, ["8"], b"8"])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(TypeError, match=r"^text: got .*, expected text"):
        read_text(text, int)


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


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (read_text, {"text": "8", "hint": int}),
        (to_text, {"value": 3}),
        (cast_text, {"value": 3, "hint": int}),
        (fits, {"value": 3, "hint": int, "bounds": {}}),
        (float32_note, {"value": 3.0, "bounds": {}}),
        (describe_type, {"hint": int, "bounds": ""}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)
