"""The text of a setting's value: written, read, checked and described by the setting's type hint.

A hint is ``int``, ``float``, ``bool``, ``str`` or a subclass of it, ``Literal``, ``tuple[X, ...]``, ``None``, or a
union of these. The members of a union are called options here.
"""

import contextlib
import ctypes
import math
import operator
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_NAMES = {int: "an integer", float: "a number", bool: "true or false", type(None): "none"}
_SMALLEST = 2.0**-126  # the smallest normal number of float32; devices take smaller ones as 0


def to_text(value: Any) -> str:
    """The value as flags write it.

    >>> to_text((8, 16)), to_text(None), to_text(True), to_text(3e-4)
    ('8,16', 'none', 'true', '0.0003')
    """
    if isinstance(value, tuple):
        return ",".join(map(to_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def read_text(text: str, hint: Any) -> Any:
    """The value that a text stands for: that of the first option that can read it.

    ``None`` is tried first and text last; the other options are tried in the order of the hint. Bounds are not checked.

    Args:
        text: the text, such as ``"8,16"``; blanks around it do not count.
        hint: a type hint.

    Raises:
        TypeError: ``text`` is no text, or the hint is of another kind.
        ValueError: no option can read the text.

    >>> read_text("8,16", tuple[int, ...]), read_text("1e3", int | str), read_text("none", str | None)
    ((8, 16), 1000, None)
    """
    if not isinstance(text, str):
        raise TypeError(f"text: got {text!r}, expected text")
    for option in sorted(_options(hint), key=lambda option: (option is not type(None), _is_text(option))):
        try:
            return _read_option(text.strip(), option)
        except (ValueError, KeyError, OverflowError):
            continue
    raise ValueError(f"text: got {text!r}, expected {describe_type(hint)}")


def _read_option(text: str, option: Any) -> Any:
    if option is type(None):
        return {"none": None}[text.lower()]
    if typing.get_origin(option) is Literal:
        return {str(choice): choice for choice in typing.get_args(option)}[text]
    if typing.get_origin(option) is tuple:
        parts = text.removesuffix(",").split(",") if text else []
        return tuple(read_text(part, typing.get_args(option)[0]) for part in parts)
    if option is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if option is int and not text.lstrip("+-").isdigit():
        number = float(text)  # people write steps as 1e4
        if number != int(number):
            raise ValueError(f"text: got {text!r}, expected an integer")
        return int(number)
    return option(text)


def cast_text(value: Any, hint: Any) -> Any:
    """The value with plain text, also inside a tuple, converted to the first option that accepts it.

    Only ``str`` and its subclasses are such options. A value that no option accepts is returned unchanged.

    Args:
        value: any value.
        hint: a type hint.
    """
    for option in _options(hint):
        if typing.get_origin(option) is tuple and isinstance(value, tuple):
            return tuple(cast_text(part, typing.get_args(option)[0]) for part in value)
        if _is_text(option) and type(value) is str:
            with contextlib.suppress(ValueError):
                return option(value)
    return value


def fits(value: Any, hint: Any, bounds: Mapping[str, float]) -> bool:
    """True if the value has a type of the hint and, if it is a number, is finite and keeps the bounds.

    An integer fits ``float``; a bool fits neither ``int`` nor ``float``. A number that fits ``float`` keeps the bounds
    also in float32, with which devices compute, and is not rounded to 0 there.

    Args:
        value: the value.
        hint: a type hint.
        bounds: bounds by their sign, such as ``{">=": 0, "<": 1}``; they hold for each number of a tuple.
    """
    _check_bounds(bounds)
    return any(_fits_option(value, option, bounds) for option in _options(hint))


def _check_bounds(bounds: Any) -> None:
    if not isinstance(bounds, Mapping) or not bounds.keys() <= _COMPARE.keys():
        raise TypeError(f"bounds: got {bounds!r}, expected numbers by {' '.join(_COMPARE)}")


def _fits_option(value: Any, option: Any, bounds: Mapping[str, float]) -> bool:
    if option is type(None):
        return value is None
    if typing.get_origin(option) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        return isinstance(value, tuple) and all(fits(v, typing.get_args(option)[0], bounds) for v in value)
    if option is bool or _is_text(option):
        return isinstance(value, option)
    if isinstance(value, bool) or not isinstance(value, (int, float) if option is float else int):
        return False
    return _keeps(value, bounds) and (option is int or _keeps_in_float32(value, bounds))


def _keeps(value: float, bounds: Mapping[str, float]) -> bool:
    return all(_COMPARE[sign](value, bound) for sign, bound in bounds.items())


def _keeps_in_float32(value: float, bounds: Mapping[str, float]) -> bool:
    held = _in_float32(value)
    kept = _keeps(held, {sign: _in_float32(bound) for sign, bound in bounds.items()})
    return math.isfinite(held) and kept and (held == 0) == (value == 0)


def _in_float32(value: float) -> float:
    """The number as devices hold it: infinite if it is too large for float32, 0 if it is too small."""
    try:
        held = ctypes.c_float(value).value
    except OverflowError:  # an integer that is too large for any float
        return math.copysign(math.inf, value > 0 or -1)
    return 0.0 if abs(held) < _SMALLEST else held


def float32_note(value: Any, bounds: Mapping[str, float]) -> str:
    """The end of an error message about a number that keeps its bounds, but not in float32; "" for any other value.

    Args:
        value: a number, or a tuple of numbers.
        bounds: as in `fits`.

    >>> float32_note(1e-50, {">": 0})
    '; in float32 it is 0'
    """
    _check_bounds(bounds)
    for number in value if isinstance(value, tuple) else (value,):
        finite = isinstance(number, int) or (isinstance(number, float) and math.isfinite(number))
        if finite and _keeps(number, bounds) and not _keeps_in_float32(number, bounds):
            return f"; in float32 it is {_in_float32(number):g}"
    return ""


def describe_type(hint: Any, bounds: str = "") -> str:
    """The hint in words for messages and help lines.

    Args:
        hint: a type hint.
        bounds: the bounds in words, such as ``">= 1"``, which follow each number.

    >>> describe_type(tuple[int, ...] | None, ">= 1")
    'comma-separated, each an integer >= 1, or none'
    """
    described = []
    for option in _options(hint):
        if typing.get_origin(option) is Literal:
            described.append("one of " + ", ".join(map(str, typing.get_args(option))))
        elif typing.get_origin(option) is tuple:
            described.append("comma-separated, each " + describe_type(typing.get_args(option)[0], bounds))
        elif _is_text(option):
            described.append(getattr(option, "expected", "text"))
        else:
            described.append(_NAMES[option] + (f" {bounds}" if bounds and option in (int, float) else ""))
    return ", or ".join(described)


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself; TypeError if settings cannot have this type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (type(None) if hint is None else hint,)
    for option in options:
        sequence = typing.get_origin(option) is tuple and typing.get_args(option)[1:] == (...,)
        named = any(option is kind for kind in _NAMES)
        if not (named or sequence or _is_text(option) or typing.get_origin(option) is Literal):
            raise TypeError(
                f"hint: got {option}, expected int, float, bool, str, Literal, tuple[X, ...], None, or a union of these"
            )
    return options


def _is_text(option: Any) -> bool:
    """True for ``str`` and its subclasses, whose constructors decide which text they accept."""
    return isinstance(option, type) and issubclass(option, str)
