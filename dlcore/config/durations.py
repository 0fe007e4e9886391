"""How long and how often, as people say it: steps, epochs, examples or percent of the run.

A leaf of the type ``int | Duration`` takes all of them; `in_steps` makes integers of them as soon as the batch size and
the number of training examples are known, so that nothing behind it needs to know of units.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from dlcore.config import settings

C = TypeVar("C")

_FORM = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,2})?)\s*(steps?|epochs?|examples?|%|)")
_LENGTH = "train.steps"  # of the run, of which percent are


class Duration(str):
    """Text such as "200steps", "0.5epochs", "10000examples" or "10%", checked; a number alone means steps.

    Texts of one number and one unit are one text: blanks go, the unit is said, in the singular after 1.

    Attributes:
        number: how many, exactly.
        unit: "steps", "epochs", "examples" or "%".

    Raises:
        ValueError: another form or unit, a number that is not positive, a part of a step or of an example,
            more than 100%.

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


def to_steps(
    duration: int | Duration, *, steps: int | None, batch_size: int | None, examples: int | None
) -> int:
    """How many steps a duration has, calculated without rounding but for the end.

    Epochs are ``ceil(number * examples / batch_size)``, examples ``ceil(number / batch_size)``, percent those of
    ``steps``, rounded (a half upward), at least 1.

    Args:
        duration: an integer is steps already.
        steps: the length of the run, or None where it is not known, as for that length itself.
        batch_size: examples in a step, or None where it is not known.
        examples: examples in an epoch, or None where it is not known.

    Raises:
        ValueError: what the unit needs is not known.

    >>> to_steps(Duration("0.1epochs"), steps=None, batch_size=10, examples=1000)
    10
    >>> to_steps(Duration("5epochs"), steps=None, batch_size=10, examples=None)
    Traceback (most recent call last):
        ...
    ValueError: duration: got '5epochs', expected steps or examples; train_data does not say how many `examples` it has
    """
    return _to_steps("duration", duration, steps, batch_size, examples)


def resolve_durations(config: C, *, batch_size: int | None, examples: int | None) -> C:
    """A copy of a nested config in which every `Duration` is an integer, the steps that it takes.

    First ``train.steps``, the length of the run, then all others, which may be percent of it.

    Args:
        config: a nested dataclass of `config.setting` leaves.
        batch_size, examples: as in `to_steps`.

    Raises:
        ValueError: naming the flag, where what a unit needs is not known, or a leaf is out of its bounds.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Train:
    ...     steps: int | Duration = configs.setting(Duration("2epochs"), "Length.", minimum=1)
    ...     every: int | Duration = configs.setting(Duration("10%"), "Steps between two.", minimum=1)
    >>> @dataclasses.dataclass
    ... class Config:
    ...     train: Train = dataclasses.field(default_factory=Train)
    >>> in_steps(Config(), batch_size=10, examples=1000)
    Config(train=Train(steps=200, every=20))
    """
    steps: int | None = None
    found = {}
    for leaf in sorted(settings.leaves(config), key=lambda leaf: leaf.path != _LENGTH):
        found[leaf.path] = _leaf_in_steps(leaf, steps, batch_size, examples)
        if leaf.path == _LENGTH:
            steps = found[_LENGTH]
    return settings.replace(config, found)


def _check_number(text: str, number: Fraction, unit: str) -> None:
    if number <= 0:
        raise ValueError(f"duration: got {text!r}, expected a number > 0")
    if unit in ("steps", "examples") and number.denominator != 1:
        raise ValueError(f"duration: got {text!r}, expected a whole number of {unit}")
    if unit == "%" and number > 100:
        raise ValueError(f"duration: got {text!r}, expected at most 100%")


def _plain(number: str) -> str:
    """The one way to write a number: '1e3' and '1000.0' as '1000'."""
    whole, _, fraction = f"{Decimal(number):f}".partition(".")
    return f"{whole}.{fraction}".rstrip("0").rstrip(".") if fraction else whole


def _number_and_unit(duration: int | Duration) -> tuple[int | Fraction, str]:
    if isinstance(duration, int):
        return duration, "steps"
    duration = Duration(duration)  # a config that was written in Python may hold plain text
    return duration.number, duration.unit


def _leaf_in_steps(
    leaf: settings.Leaf, steps: int | None, batch_size: int | None, examples: int | None
) -> Any:
    """The leaf's value, in which each `Duration`, alone or in a tuple, is an integer within the bounds."""

    def convert(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(convert, value))
        if isinstance(value, Duration):
            return _to_steps(leaf.flag, value, steps, batch_size, examples)
        return value

    value = convert(leaf.checked(leaf.value))
    try:
        return leaf.checked(value)
    except ValueError as error:
        raise ValueError(f"{error}; it was given as {leaf.text}") from None


def _to_steps(
    name: str, duration: int | Duration, steps: int | None, batch_size: int | None, examples: int | None
) -> int:
    number, unit = _number_and_unit(duration)
    got = f"{name}: got {duration!r}, expected"
    if unit == "steps":
        return int(number)
    if unit == "%":
        length = _known(steps, f"{got} steps, epochs or examples; % is of the run's length, not of itself")
        return max(1, math.floor(Fraction(number * length, 100) + Fraction(1, 2)))
    batch_size = _known(batch_size, f"{got} steps; the batch size is not known")
    if unit == "epochs":
        why = "train_data does not say how many `examples` it has"
        number *= _known(examples, f"{got} steps or examples; {why}")
    return math.ceil(Fraction(number, batch_size))


def _known(number: int | None, otherwise: str) -> int:
    if number is None:
        raise ValueError(otherwise)
    return number
