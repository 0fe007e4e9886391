"""TODO."""

import contextlib
import math
import operator
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def to_text(value: Any) -> str:
    """A leaf's value as flags write it.

    >>> to_text((8, 16)), to_text(None), to_text(True), to_text(3e-4)
    ('8,16', 'none', 'true', '0.0003')
    """
    if isinstance(value, tuple):
        return ",".join(map(to_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def read_text(text: str, hint: Any) -> Any:
    """``text`` as the first option of ``hint`` that can read it, `none` before and text after all others."""
    for option in sorted(_options(hint), key=lambda option: (option is not type(None), _is_text(option))):
        try:
            return _read_option(text.strip(), option)
        except (ValueError, KeyError, OverflowError):
            continue
    raise ValueError


def _read_option(text: str, option: Any) -> Any:
    if option is type(None):
        return {"none": None}[text.lower()]
    if typing.get_origin(option) is Literal:
        return {str(choice): choice for choice in typing.get_args(option)}[text]
    if typing.get_origin(option) is tuple:
        return tuple(read_text(part, typing.get_args(option)[0]) for part in text.split(",") if part.strip())
    if option is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if option is int and not text.lstrip("+-").isdigit():
        number = float(text)  # 1e4 is how people write steps
        if number != int(number):
            raise ValueError
        return int(number)
    return option(text)


def _is_text(option: Any) -> bool:
    """Whether it is ``str`` or a subclass, whose constructor says itself what it accepts."""
    return isinstance(option, type) and issubclass(option, str)


def cast_text(value: Any, hint: Any) -> Any:
    """``value`` with plain text, also in a tuple, as the first subclass of ``str`` in ``hint`` that accepts it."""
    for option in _options(hint):
        if typing.get_origin(option) is tuple and isinstance(value, tuple):
            return tuple(cast_text(part, typing.get_args(option)[0]) for part in value)
        if _is_text(option) and type(value) is str:
            with contextlib.suppress(ValueError):
                return option(value)
    return value


def fits(value: Any, hint: Any, bounds: Mapping[str, float]) -> bool:
    return any(_fits_option(value, option, bounds) for option in _options(hint))


def _fits_option(value: Any, option: Any, bounds: Mapping[str, float]) -> bool:
    if option is type(None):
        return value is None
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option)
    if typing.get_origin(option) is tuple:
        return isinstance(value, tuple) and all(fits(v, typing.get_args(option)[0], bounds) for v in value)
    if option is bool or _is_text(option):
        return isinstance(value, option)
    if isinstance(value, bool) or not isinstance(value, (int, float) if option is float else int):
        return False
    return math.isfinite(value) and all(_COMPARE[sign](value, bound) for sign, bound in bounds.items())


def describe_type(hint: Any, bounds: str) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", type(None): "none"}
    described = []
    for option in _options(hint):
        if typing.get_origin(option) is Literal:
            described.append("one of " + ", ".join(map(str, typing.get_args(option))))
        elif typing.get_origin(option) is tuple:
            described.append("comma-separated, each " + describe_type(typing.get_args(option)[0], bounds))
        elif _is_text(option):
            described.append(getattr(option, "expected", "text"))
        else:
            described.append(names[option] + (f" {bounds}" if bounds and option in (int, float) else ""))
    return ", or ".join(described)
