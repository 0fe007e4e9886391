"""Checks of arguments, whose errors name the argument, what it got and what was expected."""

import operator
from typing import Any


def check_integer(name: str, value: Any, minimum: int = 1) -> int:
    """Checks that the value is an integer of at least ``minimum``.

    Args:
        name: what error messages call the value.
        value: the value to check.
        minimum: the smallest value that is allowed.

    Returns:
        The value as an int.

    Raises:
        TypeError: the value is not an integer.
        ValueError: it is below ``minimum``.

    >>> check_integer("features", 4)
    4
    """
    try:
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, expected an integer >= {minimum}") from None
    if integer < minimum:
        raise ValueError(f"{name}: got {integer}, expected an integer >= {minimum}")
    return integer
