"""Durations: their text, their number of steps, and their way through files and flags."""

import copy
import json
import pickle
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from absl import flags as absl_flags

from dlcore.config import settings
from dlcore.config.durations import Duration, resolve_durations, to_steps
from dlcore.config.files import from_dict, to_dict
from dlcore.config.flags import define_flags, with_flags
from dlcore.config.settings import setting
from dlcore.config.text import to_text
from tests.helpers.bad_arguments import unclear_errors


@dataclass
class Train:
    eval_every: int | Duration = setting(
        Duration("10%"), "Declared before the length that it refers to.", minimum=1
    )
    steps: int | Duration = setting(1000, "Length of the run.", minimum=1, may_grow=True)
    rare: int | Duration | None = setting(None, "Bounded on both sides.", minimum=1, maximum=50)


@dataclass
class Config:
    warmup: int | Duration = setting(0, "May be 0.", minimum=0)
    drops: tuple[int | Duration, ...] = setting((), "A tuple of durations.", minimum=1)
    name: str = setting("5epochs", "Text that only looks like a duration.")
    train: Train = field(default_factory=Train)


@pytest.mark.parametrize(
    ("text", "number", "unit", "canonical"),
    [
        ("200steps", 200, "steps", "200steps"),
        ("200", 200, "steps", "200steps"),
        ("1e3", 1000, "steps", "1000steps"),
        ("1step", 1, "steps", "1step"),
        ("1 steps", 1, "steps", "1step"),
        ("5epochs", 5, "epochs", "5epochs"),
        ("1epoch", 1, "epochs", "1epoch"),
        ("0.5epochs", Fraction(1, 2), "epochs", "0.5epochs"),
        (".50 epoch", Fraction(1, 2), "epochs", "0.5epochs"),
        ("2.0epochs", 2, "epochs", "2epochs"),
        ("10000examples", 10_000, "examples", "10000examples"),
        ("1e4 Examples", 10_000, "examples", "10000examples"),
        ("1example", 1, "examples", "1example"),
        (" 10 % ", 10, "%", "10%"),
        ("1%", 1, "%", "1%"),
        ("12.5%", Fraction(25, 2), "%", "12.5%"),
        ("100%", 100, "%", "100%"),
    ],
)
def test_text_has_a_number_and_a_unit(text, number, unit, canonical):
    duration = Duration(text)
    assert (duration.number, duration.unit, str(duration)) == (number, unit, canonical)
    assert Duration(canonical) == duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a number and steps, epochs, examples or %"),
        ("epochs", "a number and steps, epochs, examples or %"),
        ("5parsecs", "a number and steps, epochs, examples or %"),
        ("5epochs3steps", "a number and steps, epochs, examples or %"),
        ("-5epochs", "a number and steps, epochs, examples or %"),
        ("inf epochs", "a number and steps, epochs, examples or %"),
        ("nanepochs", "a number and steps, epochs, examples or %"),
        ("1e999epochs", "a number and steps, epochs, examples or %"),
        ("1,5epochs", "a number and steps, epochs, examples or %"),
        ("0epochs", "a number > 0"),
        ("0.0%", "a number > 0"),
        ("0", "a number > 0"),
        ("1.5", "a whole number of steps"),
        ("1.5steps", "a whole number of steps"),
        ("0.5examples", "a whole number of examples"),
        ("100.1%", "at most 100%"),
    ],
)
def test_other_text_is_refused(text, expected):
    with pytest.raises(ValueError, match=f"^duration: got '{text}', expected {expected}"):
        Duration(text)


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (7, 7),
        (Duration("200steps"), 200),
        (Duration("1step"), 1),
        (Duration("1epoch"), 11),  # 103 examples at 10 a step: the last step continues in the next epoch
        (Duration("10epochs"), 103),
        (Duration("0.5epochs"), 6),  # 51.5 examples
        (Duration("0.001epochs"), 1),
        (Duration("20examples"), 2),
        (Duration("21examples"), 3),
        (Duration("1example"), 1),
        (Duration("10%"), 25),  # of 250
        (Duration("100%"), 250),
        (Duration("1%"), 3),  # 2.5: a half is rounded upward
        (Duration("1.2%"), 3),
        (Duration("0.9%"), 2),  # 2.25
        (Duration("0.01%"), 1),  # 0.025, at least 1
    ],
)
def test_every_unit_becomes_steps(duration, steps):
    assert to_steps(duration, steps=250, batch_size=10, examples=103) == steps


def test_fractions_are_exact():
    # In float64 0.07 * 100 and 1.1 * 50 are above 7 and 55, so that their ceil is too large by 1.
    assert to_steps(Duration("0.1epochs"), steps=None, batch_size=10, examples=1000) == 10
    assert to_steps(Duration("0.07epochs"), steps=None, batch_size=1, examples=100) == 7
    assert to_steps(Duration("1.1epochs"), steps=None, batch_size=1, examples=50) == 55


@pytest.mark.parametrize(
    ("duration", "unknown", "expected"),
    [
        ("5epochs", "examples", "steps or examples; train_data does not say how many `examples` it has"),
        ("5epochs", "batch_size", "steps; the batch size is not known"),
        ("5examples", "batch_size", "steps; the batch size is not known"),
        ("5%", "steps", "steps, epochs or examples; % is of the run's length, not of itself"),
    ],
)
def test_a_quantity_that_a_unit_needs_may_not_be_missing(duration, unknown, expected):
    known = {"steps": 100, "batch_size": 10, "examples": 1000}
    assert to_steps(Duration(duration), **known) > 0
    with pytest.raises(ValueError, match=f"^duration: got '{duration}', expected {expected}$"):
        to_steps(Duration(duration), **known | {unknown: None})


def test_units_need_only_their_own_quantities():
    nothing = {"steps": None, "batch_size": None, "examples": None}
    assert to_steps(Duration("5steps"), **nothing) == 5
    assert to_steps(5, **nothing) == 5
    assert to_steps(Duration("10%"), **nothing | {"steps": 50}) == 5
    assert to_steps(Duration("50examples"), **nothing | {"batch_size": 10}) == 5


def test_all_durations_of_a_config_become_steps():
    config = Config(
        Duration("0.5epochs"),
        (Duration("50%"), 900),
        train=Train(steps=Duration("4epochs"), rare=Duration("45examples")),
    )
    converted = resolve_durations(config, batch_size=10, examples=1000)
    assert converted == Config(50, (200, 900), train=Train(eval_every=40, steps=400, rare=5))
    assert type(converted.train.eval_every) is int
    assert config.train.steps == "4epochs"


def test_percent_refer_to_a_length_in_steps_too():
    assert resolve_durations(Config(), batch_size=None, examples=None) == Config(train=Train(eval_every=100))


def test_plain_text_in_python_becomes_steps():
    config = Config(train=Train(steps="3 epochs"))
    assert resolve_durations(config, batch_size=10, examples=100).train.steps == 30


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            Config(train=Train(steps=Duration("50%"))),
            "--config.train.steps: got '50%', expected steps, epochs or examples; ",
        ),
        (
            Config(train=Train(eval_every=Duration("5epochs"))),
            "--config.train.eval_every: got '5epochs', expected steps or",
        ),
        (
            Config(drops=(3, Duration("1epoch"))),
            "--config.drops: got '1epoch', expected steps or examples; train_data",
        ),
        (
            Config(train=Train(rare=Duration("60steps"))),
            "--config.train.rare: got 60, expected an integer >= 1 and <= 50, or a duration like 5epochs, "
            "1000examples or 10%, or none; it was given as 60steps",
        ),
        (
            Config(train=Train(steps=0)),
            "--config.train.steps: got 0, expected an integer >= 1, or a duration",
        ),
    ],
)
def test_errors_name_the_flag(config, message):
    with pytest.raises(ValueError, match="^" + message):
        resolve_durations(config, batch_size=10, examples=None)


def test_json_and_back_is_the_same_config():
    config = Config(Duration("1epoch"), (3, Duration("10%")), train=Train(steps=Duration("100examples")))
    back = from_dict(Config(), json.loads(json.dumps(to_dict(config))), "file")
    assert back == config
    found = [back.warmup, *back.drops, back.train.steps, back.train.eval_every, back.name]
    assert list(map(type, found)) == [Duration, int, Duration, Duration, Duration, str]


@pytest.mark.parametrize(
    "value", [Duration("1epoch"), Duration("2.5%"), Duration("200"), Duration("1e4examples"), 200]
)
def test_text_and_back_is_the_same_value(value):
    leaf = next(settings.leaves(Config()))
    read = leaf.read(to_text(value))
    assert read == value
    assert type(read) is type(value)


def test_copies_are_durations():
    duration = Duration("2.5epochs")
    for other in (copy.deepcopy(duration), pickle.loads(pickle.dumps(duration)), Duration(duration)):
        assert (other, other.number, other.unit) == ("2.5epochs", Fraction(5, 2), "epochs")
        assert type(other) is Duration


def test_flags_accept_durations_and_help_shows_it():
    values = absl_flags.FlagValues()
    define_flags(Config(), "program", values)
    values(["program", "--config.train.steps=5epochs", "--config.warmup=1e2"])
    assert with_flags(Config(), values) == Config(100, train=Train(steps=Duration("5epochs")))
    assert "an integer >= 1, or a duration like 5epochs, 1000examples or 10%" in values.get_help()
    with pytest.raises(absl_flags.Error, match="expected an integer >= 1, or a duration like"):
        values(["program", "--config.train.steps=5parsecs"])


@pytest.mark.parametrize("text", [None, 5, 1.5, ["5epochs"], b"5epochs"])
def test_a_duration_is_made_of_text(text):
    with pytest.raises(TypeError, match=r"^duration: got .*, expected text like 5epochs or 10%"):
        Duration(text)


def test_a_number_of_thousands_of_digits_is_no_duration():
    for text in ("9" * 5000, "9" * 5000 + "epochs", "0." + "1" * 5000 + "%"):
        with pytest.raises(ValueError, match=r"^duration: got '.*', expected a number and steps, epochs, "):
            Duration(text)


@pytest.mark.parametrize(
    ("duration", "known", "error", "message"),
    [
        (None, {}, TypeError, "duration: got None, expected a number of steps or a Duration"),
        (1.5, {}, TypeError, "duration: got 1.5, expected a number of steps or a Duration"),
        (True, {}, TypeError, "duration: got True, expected a number of steps or a Duration"),
        ([5], {}, TypeError, r"duration: got \[5\], expected a number of steps or a Duration"),
        ("5parsecs", {}, ValueError, "duration: got '5parsecs', expected a number and steps"),
        ("5epochs", {"examples": 0}, ValueError, "examples: got 0, expected an integer >= 1"),
        ("5epochs", {"examples": "100"}, TypeError, "examples: got '100', expected an integer >= 1"),
        ("5epochs", {"batch_size": 0}, ValueError, "batch_size: got 0, expected an integer >= 1"),
        ("5epochs", {"batch_size": 2.5}, TypeError, "batch_size: got 2.5, expected an integer >= 1"),
        ("5%", {"steps": 0}, ValueError, "steps: got 0, expected an integer >= 1"),
        ("5%", {"steps": 1.5}, TypeError, "steps: got 1.5, expected an integer >= 1"),
    ],
)
def test_a_bad_conversion_names_the_argument(duration, known, error, message):
    with pytest.raises(error, match=f"^{message}"):
        to_steps(duration, **{"steps": 10, "batch_size": 10, "examples": 10} | known)


def test_integers_of_numpy_are_steps():
    assert to_steps(np.int32(5), steps=None, batch_size=None, examples=None) == 5
    assert to_steps(Duration("5epochs"), steps=None, batch_size=np.int32(5), examples=np.int64(10)) == 10


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (Duration, {"text": "5epochs"}),
        (to_steps, {"duration": "5epochs", "steps": 10, "batch_size": 5, "examples": 10}),
        (to_steps, {"duration": "5%", "steps": 10, "batch_size": 5, "examples": 10}),
        (resolve_durations, {"config": Config(), "batch_size": 5, "examples": 10}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)
