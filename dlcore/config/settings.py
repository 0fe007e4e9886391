"""Configuration as plain nested dataclasses: what a leaf is, how its text is read, what it may be.

A leaf is declared with `setting`, which keeps its help and its bounds beside its default; flags, files and
Python all go through the same checks here. A leaf may be of a subclass of ``str`` that checks itself, for instance
``int | Duration``: its constructor raises ValueError for what it does not accept, its attribute ``expected`` says what
it does, and bounds do not apply to it.
"""

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dlcore.config.text import cast_text, describe_type, fits, read_text, to_text

C = TypeVar("C")


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    may_grow: bool = False,
    may_change: bool = False,
) -> Any:
    """A leaf of a Config: a dataclass field with its meaning and its bounds.

    Args:
        default: the value unless the user says otherwise.
        help: the meaning, for ``--help``.
        minimum, maximum: the value is >= minimum, <= maximum.
        above, below: the value is > above, < below.
        may_grow: a run that is started again in its folder may have a larger value.
        may_change: a run that is started again in its folder may have another value, since it does not change what
            the run computes.

    >>> @dataclasses.dataclass
    ... class Example:
    ...     rate: float = setting(0.1, "Step size.", above=0)
    >>> check(Example(rate=-1.0))
    Traceback (maximum recent call last):
        ...
    ValueError: --config.rate: got -1.0, expected a number > 0
    """
    bounds = {">=": minimum, "<=": maximum, ">": above, "<": below}
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
        return describe_type(
            self.hint, " and ".join(f"{sign} {bound}" for sign, bound in self.bounds.items())
        )

    def read(self, text: str) -> Any:
        """The value that a user's ``text`` means; ValueError where it means none or is out of bounds."""
        try:
            return self.checked(read_text(text, self.hint))
        except ValueError:
            raise ValueError(f"expected {self.expected}") from None  # absl says flag and text

    def checked(self, value: Any) -> Any:
        """``value`` itself, or where only a subclass of ``str`` fits, plain text as that.

        Raises:
            ValueError: it does not fit.
        """
        fitting = value if fits(value, self.hint, self.bounds) else cast_text(value, self.hint)
        if not fits(fitting, self.hint, self.bounds):
            raise ValueError(f"{self.flag}: got {value!r}, expected {self.expected}")
        return fitting


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


def _replace_one(config: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replace_one(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: value})
