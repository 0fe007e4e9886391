"""TODO."""

import operator
from typing import Any


def check_integer(name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int; TypeError where it is none, ValueError where it is below ``minimum``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, expected an integer >= {minimum}") from None
    if number < minimum:
        raise ValueError(f"{name}: got {number}, expected an integer >= {minimum}")
    return number
