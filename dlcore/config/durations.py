"""Durations as people state them: in steps, epochs, examples or percent of the run.

A setting of the type ``int | Duration`` accepts all of them. `resolve_durations` converts them to integers as soon as
the batch size and the number of training examples are known, so that all later code counts in steps.
"""

import math
import operator
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from dlcore.config import settings
from dlcore.utils.checks import check_integer

C = TypeVar("C")

_DIGITS = "[0-9]{1,99}"
_NUMBER = rf"(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:e[+-]?[0-9]{{1,2}})?"
_FORM = re.compile(rf"({_NUMBER})\s*(steps?|epochs?|examples?|%|)")
_RUN_LENGTH = "train.steps"  # the setting that percentages refer to


class Duration(str):
    """A duration as checked text such as "200steps", "0.5epochs", "10000examples" or "10%"; a subclass of ``str``.

    A number alone means steps. Equal durations in the same unit have the same text: without blanks, with the unit, in
    the singular after 1.

    Attributes:
        number: the exact number of units.
        unit: "steps", "epochs", "examples" or "%".

    Raises:
        TypeError: the argument is no text.
        ValueError: the text has another form or unit, the number is not positive, steps or examples are not a whole
            number, or the percentage is more than 100.

    >>> Duration("5 epochs"), Duration("1epochs"), Duration("1e3"), Duration("12.50%")
    ('5epochs', '1epoch', '1000steps', '12.5%')
    >>> Duration("1.5steps")
    Traceback (most recent call last):
        ...
    ValueError: duration: got '1.5steps', expected a whole number of steps
    """

    expected = "a duration like 5epochs, 1000examples or 10%"

    number: Fraction
    unit: str

    def __new__(cls, text: str) -> "Duration":
        if not isinstance(text, str):
            raise TypeError(f"duration: got {text!r}, expected text like 5epochs or 10%")
        form = _FORM.fullmatch(text.strip().lower())
        if not form:
            raise ValueError(
                f"duration: got {text!r}, expected a number and steps, epochs, examples or %, like 5epochs or 10%"
            )
        number, unit = Fraction(form[1]), form[2] if form[2] == "%" else (form[2].rstrip("s") or "step") + "s"
        _check_number(text, number, unit)
        duration = super().__new__(cls, _plain(form[1]) + (unit.rstrip("s") if number == 1 else unit))
        duration.number, duration.unit = number, unit
        return duration


def _check_number(text: str, number: Fraction, unit: str) -> None:
    if number <= 0:
        raise ValueError(f"duration: got {text!r}, expected a number > 0")
    if unit in ("steps", "examples") and number.denominator != 1:
        raise ValueError(f"duration: got {text!r}, expected a whole number of {unit}")
    if unit == "%" and number > 100:
        raise ValueError(f"duration: got {text!r}, expected at most 100%")


def _plain(number: str) -> str:
    """The only spelling of a number: '1e3' and '1000.0' become '1000'."""
    whole, _, fraction = f"{Decimal(number):f}".partition(".")
    return f"{whole}.{fraction}".rstrip("0").rstrip(".") if fraction else whole


def to_steps(
    duration: int | Duration,
    *,
    steps: int | None,
    batch_size: int | None,
    examples: int | None,
    name: str = "duration",
) -> int:
    """Converts a duration to a number of steps, an integer; only the result is rounded.

    Epochs are ``ceil(number * examples / batch_size)`` steps and examples ``ceil(number / batch_size)`` steps. Percent
    are of ``steps``, rounded to the nearest integer (a half upward), and at least 1 step.

    Args:
        duration: the duration; an integer is a number of steps already.
        steps: the length of the run; None if it is not known, as when that length itself is converted.
        batch_size: number of examples in a step; None if it is not known.
        examples: number of examples in an epoch; None if it is not known.
        name: the name that error messages begin with.

    Raises:
        TypeError: the duration is neither text nor an integer, or a quantity is no integer.
        ValueError: the unit needs a quantity that is not known or less than 1, or the text is no `Duration`.

    >>> to_steps(Duration("0.1epochs"), steps=None, batch_size=10, examples=1000)
    10
    >>> to_steps(Duration("5epochs"), steps=None, batch_size=10, examples=None)
    Traceback (most recent call last):
        ...
    ValueError: duration: got '5epochs', expected steps or examples; train_data does not say how many `examples` it has
    """
    number, unit = _number_and_unit(duration, name)
    got = f"{name}: got {duration!r}, expected"
    if unit == "steps":
        return int(number)
    if unit == "%":
        length = _known(
            "steps", steps, f"{got} steps, epochs or examples; % is of the run's length, not of itself"
        )
        return max(1, math.floor(Fraction(number * length, 100) + Fraction(1, 2)))
    batch_size = _known("batch_size", batch_size, f"{got} steps; the batch size is not known")
    if unit == "epochs":
        why = "train_data does not say how many `examples` it has"
        number *= _known("examples", examples, f"{got} steps or examples; {why}")
    return math.ceil(Fraction(number, batch_size))


def _number_and_unit(duration: int | Duration, name: str) -> tuple[int | Fraction, str]:
    if isinstance(duration, str):
        duration = Duration(duration)  # a config made in Python may hold plain text
        return duration.number, duration.unit
    if isinstance(duration, bool) or not hasattr(type(duration), "__index__"):
        raise TypeError(f"{name}: got {duration!r}, expected a number of steps or a Duration")
    return operator.index(duration), "steps"


def _known(name: str, quantity: int | None, message: str) -> int:
    if quantity is None:
        raise ValueError(message)
    return check_integer(name, quantity)


def resolve_durations(config: C, *, batch_size: int | None, examples: int | None) -> C:
    """A copy of a nested config in which an integer number of steps replaces every `Duration`, also in tuples.

    The length of the run, ``train.steps``, is converted first, because other durations may be percent of it.

    Args:
        config: a nested dataclass of settings.
        batch_size: number of examples in a step; None if it is not known.
        examples: number of examples in an epoch; None if it is not known.

    Raises:
        ValueError: a unit needs a quantity that is not known, or a setting has another type or is out of its bounds;
            the message names the flag.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Train:
    ...     steps: int | Duration = settings.setting(Duration("2epochs"), "Length of the run.", minimum=1)
    ...     every: int | Duration = settings.setting(Duration("10%"), "Steps between two logs.", minimum=1)
    >>> @dataclasses.dataclass
    ... class Config:
    ...     train: Train = dataclasses.field(default_factory=Train)
    >>> resolve_durations(Config(), batch_size=10, examples=1000)
    Config(train=Train(steps=200, every=20))
    """
    steps: int | None = None
    found = {}
    for leaf in sorted(settings.leaves(config), key=lambda leaf: leaf.path != _RUN_LENGTH):
        found[leaf.path] = _leaf_in_steps(leaf, steps, batch_size, examples)
        if leaf.path == _RUN_LENGTH:
            steps = found[_RUN_LENGTH]
    return settings.replace(config, found)


def _leaf_in_steps(
    leaf: settings.Leaf, steps: int | None, batch_size: int | None, examples: int | None
) -> Any:
    """The value of a leaf with every `Duration`, alone or in a tuple, converted to an integer within the bounds."""

    def convert(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(convert, value))
        if isinstance(value, Duration):
            return to_steps(value, steps=steps, batch_size=batch_size, examples=examples, name=leaf.flag)
        return value

    value = convert(leaf.checked(leaf.value))
    try:
        return leaf.checked(value)
    except ValueError as error:
        raise ValueError(f"{error}; it was given as {leaf.text}") from None
