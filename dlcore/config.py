"""Configuration as plain nested dataclasses: what a leaf is, how its text is read, what it may be.

A leaf is declared with `setting`, which keeps its help and its bounds beside its default; flags, files and
Python all go through the same checks here. A leaf may be of a subclass of ``str`` that checks itself, for instance
``int | Duration``: its constructor raises ValueError for what it does not accept, its attribute ``expected`` says what
it does, and bounds do not apply to it.
"""

import contextlib
import dataclasses
import difflib
import math
import operator
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

C = TypeVar("C")

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def setting(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    may_grow: bool = False,
    may_change: bool = False,
) -> Any:
    """A leaf of a Config: a dataclass field with its meaning and its bounds.

    Args:
        default: the value unless the user says otherwise.
        help: the meaning, for ``--help``.
        least, most: the value is >= least, <= most.
        above, below: the value is > above, < below.
        may_grow: a run that is started again in its folder may have a larger value.
        may_change: a run that is started again in its folder may have another value, since it does not change what
            the run computes.

    >>> @dataclasses.dataclass
    ... class Example:
    ...     rate: float = setting(0.1, "Step size.", above=0)
    >>> check(Example(rate=-1.0))
    Traceback (most recent call last):
        ...
    ValueError: --config.rate: got -1.0, expected a number > 0
    """
    bounds = {">=": least, "<=": most, ">": above, "<": below}
    bounds = {sign: bound for sign, bound in bounds.items() if bound is not None}
    said = {"help": help, "bounds": bounds, "may_grow": may_grow, "may_change": may_change}
    return dataclasses.field(default=default, metadata=said)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One value of a nested config: its dotted path, type, value and what `setting` said of it."""

    path: str
    hint: Any
    value: Any
    help: str
    bounds: Mapping[str, float]
    may_grow: bool
    may_change: bool = False

    @property
    def flag(self) -> str:
        return f"--config.{self.path}"

    @property
    def text(self) -> str:
        """The value as `read` takes it."""
        return to_text(self.value)

    @property
    def expected(self) -> str:
        """What the leaf may be, in words: 'a number >= 0 and < 1, or none'."""
        return _describe(self.hint, " and ".join(f"{sign} {bound}" for sign, bound in self.bounds.items()))

    def read(self, text: str) -> Any:
        """The value that a user's ``text`` means; ValueError where it means none or is out of bounds."""
        try:
            return self.checked(_read(text, self.hint))
        except ValueError:
            raise ValueError(f"expected {self.expected}") from None  # absl says flag and text

    def checked(self, value: Any) -> Any:
        """``value`` itself, or where only a subclass of ``str`` fits, plain text as that.

        Raises:
            ValueError: it does not fit.
        """
        fitting = value if _fits(value, self.hint, self.bounds) else _cast(value, self.hint)
        if not _fits(fitting, self.hint, self.bounds):
            raise ValueError(f"{self.flag}: got {value!r}, expected {self.expected}")
        return fitting


def to_text(value: Any) -> str:
    """A leaf's value as flags write it.

    >>> to_text((8, 16)), to_text(None), to_text(True), to_text(3e-4)
    ('8,16', 'none', 'true', '0.0003')
    """
    if isinstance(value, tuple):
        return ",".join(map(to_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def leaves(config: Any, prefix: str = "") -> Iterator[Leaf]:
    """Every leaf of a nested dataclass, depth first, in the order of declaration."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, path + ".")
        else:
            said = field.metadata
            yield Leaf(
                path,
                hints[field.name],
                value,
                said.get("help", ""),
                said.get("bounds", {}),
                said.get("may_grow", False),
                said.get("may_change", False),
            )


def check(config: Any) -> None:
    """ValueError, naming the flag, for the first leaf that is of another type or out of its bounds."""
    for leaf in leaves(config):
        leaf.checked(leaf.value)


def replace(config: C, values: Mapping[str, Any]) -> C:
    """A copy in which the leaves at the given dotted paths have other values.

    >>> @dataclasses.dataclass
    ... class Inner:
    ...     rate: float = 0.1
    >>> @dataclasses.dataclass
    ... class Outer:
    ...     inner: Inner = dataclasses.field(default_factory=Inner)
    >>> replace(Outer(), {"inner.rate": 0.5})
    Outer(inner=Inner(rate=0.5))
    """
    for path, value in values.items():
        config = _replace_one(config, path.split("."), value)
    return config


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, where one is near.

    >>> did_you_mean("evaluat", ["train", "evaluate"])
    "; did you mean 'evaluate'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def to_dict(config: Any) -> dict[str, Any]:
    """The nested config as JSON knows it."""
    return dataclasses.asdict(config)


def from_dict(config: C, values: Mapping[str, Any], source: str) -> C:
    """A copy of ``config`` with the values that `to_dict` gave; leaves that are not named stay.

    Raises:
        ValueError: an unknown name (the nearest known one is suggested), a wrong type or bound; the
            message begins with ``source``.
    """
    known = {leaf.path: leaf for leaf in leaves(config)}
    found = {}
    for path, value in _flatten(values):
        if path not in known:
            raise ValueError(f"{source}: no setting {path!r}{did_you_mean(path, known)}")
        try:
            found[path] = known[path].checked(tuple(value) if isinstance(value, list) else value)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
    return replace(config, found)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _replace_one(config: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replace_one(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: value})


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _read(text: str, hint: Any) -> Any:
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
        return tuple(_read(part, typing.get_args(option)[0]) for part in text.split(",") if part.strip())
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


def _cast(value: Any, hint: Any) -> Any:
    """``value`` with plain text, also in a tuple, as the first subclass of ``str`` in ``hint`` that accepts it."""
    for option in _options(hint):
        if typing.get_origin(option) is tuple and isinstance(value, tuple):
            return tuple(_cast(part, typing.get_args(option)[0]) for part in value)
        if _is_text(option) and type(value) is str:
            with contextlib.suppress(ValueError):
                return option(value)
    return value


def _fits(value: Any, hint: Any, bounds: Mapping[str, float]) -> bool:
    return any(_fits_option(value, option, bounds) for option in _options(hint))


def _fits_option(value: Any, option: Any, bounds: Mapping[str, float]) -> bool:
    if option is type(None):
        return value is None
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option)
    if typing.get_origin(option) is tuple:
        return isinstance(value, tuple) and all(_fits(v, typing.get_args(option)[0], bounds) for v in value)
    if option is bool or _is_text(option):
        return isinstance(value, option)
    if isinstance(value, bool) or not isinstance(value, (int, float) if option is float else int):
        return False
    return math.isfinite(value) and all(_COMPARE[sign](value, bound) for sign, bound in bounds.items())


def _describe(hint: Any, bounds: str) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", type(None): "none"}
    described = []
    for option in _options(hint):
        if typing.get_origin(option) is Literal:
            described.append("one of " + ", ".join(map(str, typing.get_args(option))))
        elif typing.get_origin(option) is tuple:
            described.append("comma-separated, each " + _describe(typing.get_args(option)[0], bounds))
        elif _is_text(option):
            described.append(getattr(option, "expected", "text"))
        else:
            described.append(names[option] + (f" {bounds}" if bounds and option in (int, float) else ""))
    return ", or ".join(described)
