"""Configuration as plain nested dataclasses whose fields are settings.

A setting is a field declared with `setting`, which stores its meaning and its bounds beside its default. A `Leaf` is a
setting at its place in a nested config. Flags, files and Python code all pass the checks of `Leaf`.

The type of a setting may be a subclass of ``str`` that checks itself, for instance ``int | Duration``. Its constructor
raises ValueError for text that it does not accept, and its attribute ``expected`` describes the text that it accepts.
Bounds do not apply to it.
"""

import dataclasses
import difflib
import functools
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dlcore.config.text import cast_text, describe_type, fits, float32_note, read_text, to_text

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
    """Declares a setting: a dataclass field with a meaning and bounds.

    The dataclass itself checks nothing; `check` does. A bound of None is no bound. Bounds hold for a number and for
    each number in a tuple.

    Args:
        default: the value if the user gives none.
        help: the meaning, which ``--help`` shows.
        minimum: the value is >= minimum.
        maximum: the value is <= maximum.
        above: the value is > above.
        below: the value is < below.
        may_grow: True if a run that is resumed in its folder may have a larger value.
        may_change: True if a run that is resumed in its folder may have another value, because the setting does not
            change what the run computes.

    Returns:
        A ``dataclasses.field``.

    Raises:
        TypeError: the default is mutable, the help is no text, or a bound is no number.

    >>> @dataclasses.dataclass
    ... class Example:
    ...     rate: float = setting(0.1, "Step size.", above=0)
    >>> check(Example(rate=-1.0))
    Traceback (most recent call last):
        ...
    ValueError: --config.rate: got -1.0, expected a number > 0
    """
    if type(default).__hash__ is None:
        raise TypeError(f"default: got {default!r}, expected a number, text, None or a tuple")
    if not isinstance(help, str):
        raise TypeError(f"help: got {help!r}, expected text")
    for name, bound in (("minimum", minimum), ("maximum", maximum), ("above", above), ("below", below)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise TypeError(f"{name}: got {bound!r}, expected a number or None")
    bounds = {">=": minimum, ">": above, "<=": maximum, "<": below}
    bounds = {sign: bound for sign, bound in bounds.items() if bound is not None}
    declared = {"help": help, "bounds": bounds, "may_grow": may_grow, "may_change": may_change}
    return dataclasses.field(default=default, metadata={"setting": declared})


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A setting of a nested config: where it is, its value, and how it was declared.

    Attributes:
        path: the names of the fields that lead to the setting, joined by dots.
        hint: the type hint of the field.
        value: the present value.
        help: the meaning.
        bounds: the bounds by their sign, such as ``{">=": 1}``.
        may_grow: as in `setting`.
        may_change: as in `setting`.

    Raises:
        TypeError: a setting cannot have this type.
    """

    path: str
    hint: Any
    value: Any
    help: str = ""
    bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    may_grow: bool = False
    may_change: bool = False

    def __post_init__(self) -> None:
        try:
            describe_type(self.hint)
        except TypeError as error:
            raise TypeError(f"{self.flag}: {error}") from None

    @property
    def flag(self) -> str:
        """The setting's flag on the command line: ``--config.PATH``."""
        return f"--config.{self.path}"

    @property
    def text(self) -> str:
        """The value as text that `read` accepts."""
        return to_text(self.value)

    @property
    def expected(self) -> str:
        """The values that the setting may have, in words: 'a number >= 0 and < 1, or none'."""
        bounds = " and ".join(f"{sign} {bound}" for sign, bound in self.bounds.items())
        return describe_type(self.hint, bounds)

    def read(self, text: str) -> Any:
        """The value that a user's text stands for.

        Raises:
            ValueError: the text cannot be read as the setting's type, or the value is out of bounds.
        """
        try:
            value = read_text(text, self.hint)
        except ValueError:
            raise ValueError(f"expected {self.expected}") from None  # absl adds the flag and the text
        return self._fitting(value)

    def checked(self, value: Any) -> Any:
        """The value itself if it fits; else plain text, also in a tuple, as the subclass of ``str`` that accepts it.

        Raises:
            ValueError: the value has another type or is out of bounds.
        """
        try:
            return self._fitting(value)
        except ValueError as error:
            raise ValueError(f"{self.flag}: got {value!r}, {error}") from None

    def _fitting(self, value: Any) -> Any:
        fitting = value if fits(value, self.hint, self.bounds) else cast_text(value, self.hint)
        if not fits(fitting, self.hint, self.bounds):
            raise ValueError(f"expected {self.expected}{float32_note(value, self.bounds)}")
        return fitting


def leaves(config: Any, prefix: str = "") -> Iterator[Leaf]:
    """Yields a `Leaf` for every setting of a nested dataclass, depth first, in the order of declaration.

    Args:
        config: a nested dataclass of settings.
        prefix: the text that each path begins with, such as ``"train."``.

    Raises:
        TypeError: the config, or a group of settings in it, is no instance of a dataclass.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix: got {prefix!r}, expected text")
    check_config(config, prefix.removesuffix(".") or "config")
    hints = _type_hints(type(config))  # type: ignore[arg-type]
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value) or dataclasses.is_dataclass(hints[field.name]):
            yield from leaves(value, path + ".")
        else:
            yield Leaf(path, hints[field.name], value, **field.metadata.get("setting", {}))


@functools.cache
def _type_hints(config_class: type) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def check_config(config: Any, name: str = "config") -> None:
    """Checks that the config is an instance of a dataclass.

    Raises:
        TypeError: it is anything else, also the class itself; ``name`` is what the message calls it.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{name}: got {config!r}, expected a dataclass of settings")


def check(config: Any) -> None:
    """Checks the types and bounds of all settings of a nested dataclass.

    Raises:
        ValueError: a setting has another type or is out of bounds; the message names the flag of the first one.
    """
    for leaf in leaves(config):
        leaf.checked(leaf.value)


def replace(config: C, values: Mapping[str, Any]) -> C:
    """A copy of the config with other values at the given dotted paths; the values are not checked.

    Args:
        config: a nested dataclass of settings.
        values: the new values by path.

    Raises:
        ValueError: the config has no setting or group at a path.

    >>> @dataclasses.dataclass
    ... class Inner:
    ...     rate: float = 0.1
    >>> @dataclasses.dataclass
    ... class Outer:
    ...     inner: Inner = dataclasses.field(default_factory=Inner)
    >>> replace(Outer(), {"inner.rate": 0.5})
    Outer(inner=Inner(rate=0.5))
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"values: got {values!r}, expected values by path")
    known = [leaf.path for leaf in leaves(config)]
    for path, value in values.items():
        if not any(f"{other}.".startswith(f"{path}.") for other in known):
            raise ValueError(
                f"values: got {path!r}, expected the path of a setting{did_you_mean(path, known)}"
            )
        config = _replace_one(config, path.split("."), value)
    return config


def _replace_one(config: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replace_one(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: value})


class Settings:
    """The base of config classes: an attribute that is no setting, as a misspelled one, cannot be set.

    >>> @dataclasses.dataclass
    ... class Config(Settings):
    ...     steps: int = 3
    >>> Config().step = 5
    Traceback (most recent call last):
        ...
    AttributeError: step: Config has no such setting; did you mean 'steps'?
    """

    def __setattr__(self, name: str, value: Any) -> None:
        fields = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        if name not in fields:
            hint = did_you_mean(name, fields) or f"; expected one of {', '.join(fields)}"
            raise AttributeError(f"{name}: {type(self).__name__} has no such setting{hint}")
        super().__setattr__(name, value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the most similar known name; "" if none is similar.

    >>> did_you_mean("evaluat", ["train", "evaluate"])
    "; did you mean 'evaluate'?"
    """
    if not isinstance(known, Iterable):
        raise TypeError(f"known: got {known!r}, expected names")
    similar = difflib.get_close_matches(str(name), list(map(str, known)), n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""
