"""Checks of arguments, whose errors name the argument, what it got and what was expected."""

import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def check_integer(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> int:
    """Checks that the value is an integer of at least ``minimum`` and at most ``maximum``.

    Args:
        name: what error messages call the value.
        value: the value to check. An array with one integer and no axes is one, a boolean is not.
        minimum: the smallest value that is allowed.
        maximum: the largest value that is allowed; None: there is none.

    Returns:
        The value as an int.

    Raises:
        TypeError: the value is not an integer.
        ValueError: it is below ``minimum`` or above ``maximum``.

    >>> check_integer("features", 4)
    4
    """
    expected = f"an integer >= {minimum}" if maximum is None else f"an integer from {minimum} to {maximum}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {shown(value)}, expected {expected}") from None
    if integer < minimum or (maximum is not None and integer > maximum):
        raise ValueError(f"{name}: got {integer}, expected {expected}")
    return integer


def check_number(name: str, value: Any, interval: str = "(-inf, inf)") -> float:
    """Checks that the value is a real number in an interval.

    Args:
        name: what error messages call the value.
        value: the value to check. An array with one number and no axes is one; a boolean, a string and a traced value
            are not.
        interval: the allowed numbers, such as ``"[0, 1)"``: a square bracket includes the bound, a round one does not.
            The default allows every finite number. NaN lies in no interval.

    Returns:
        The value as a float.

    Raises:
        TypeError: the value is not a real number.
        ValueError: it lies outside the interval.

    >>> check_number("dropout", 0.5, "[0, 1)")
    0.5
    """
    try:
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real | np.ndarray | jax.Array):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name}: got {shown(value)}, expected a number in {interval}") from None
    low, high = map(float, interval[1:-1].split(","))
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):
        raise ValueError(f"{name}: got {number}, expected a number in {interval}")
    return number


def check_bool(name: str, value: Any) -> bool:
    """Checks that the value is True or False; text such as "no" would count as True.

    Raises:
        TypeError: the value is something else; ``name`` is what the message calls it.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {shown(value)}, expected True or False")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str | None]) -> None:
    """Checks that the value is one of several words; None may be one of them.

    Raises:
        ValueError: the value is something else; ``name`` is what the message calls it.

    >>> check_choice("ties", "Split", ("first", "split"))
    Traceback (most recent call last):
        ...
    ValueError: ties: got 'Split', expected "first" or "split"
    """
    if not (value is None or isinstance(value, str)) or value not in choices:
        *others, last = [str(word) if word is None else f'"{word}"' for word in choices]
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name}: got {shown(value)}, expected {expected}")


def check_instance(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    """Checks that the value is an object of a class.

    Args:
        name: what error messages call the value.
        value: the value to check.
        kind: its class, or a tuple of classes.
        expected: what the error message says was expected, such as "a ConvBlock".

    Raises:
        TypeError: the value is no object of the class.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name}: got {shown(value)}, expected {expected}")


def check_callable(name: str, value: Any, example: str) -> None:
    """Checks that the value is a function or another object that can be called.

    Args:
        name: what error messages call the value.
        value: the value to check.
        example: a function that would be right, for the error message.

    Raises:
        TypeError: the value cannot be called.
    """
    if not callable(value):
        raise TypeError(f"{name}: got {shown(value)}, expected a function such as {example}")


def shown(value: Any, longest: int = 80) -> str:
    """A value as an error message shows it: its ``repr``; arrays by dtype and shape, what is too long by its type."""
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"an array of {value.dtype} with shape {value.shape}"
    text = repr(value)
    return text if len(text) <= longest and "\n" not in text else type(value).__name__
