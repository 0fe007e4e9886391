"""A config as a dict and as a run's ``config.json``, and back."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from absl import logging

from dlcore.config.renamed import RENAMED
from dlcore.config.settings import check_config, did_you_mean, leaves, replace

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """A nested dict of the config's values by name, which JSON can store; tuples stay tuples."""
    check_config(config)
    return dataclasses.asdict(config)


def from_dict(config: C, values: Mapping[str, Any], source: str) -> C:
    """A copy of the config with the values of a dict from `to_dict`.

    Settings that the dict does not name keep their values. Lists become tuples. A setting may have its old name: see
    `renamed.RENAMED`.

    Args:
        config: a nested dataclass of settings.
        values: nested dicts of values by name.
        source: where the values come from; error messages begin with it.

    Raises:
        TypeError: ``values`` is no dict.
        ValueError: a name is unknown (the message suggests a similar one) or there twice, under its old name too; or a
            value has another type or is out of bounds.
    """
    return replace(config, _read_values(config, values, source))


def _read_values(config: Any, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The checked value of every setting that the dict names, by path."""
    if not isinstance(values, Mapping):
        raise TypeError(f"values: got {values!r}, expected a dict of settings")
    known = {leaf.path: leaf for leaf in leaves(config)}
    found: dict[str, Any] = {}
    for stored_path, value in _flatten(values, to_dict(config), source):
        path = stored_path if stored_path in known else RENAMED.get(stored_path, stored_path)
        if path not in known:
            raise ValueError(f"{source}: no setting {path!r}{_advice(path, known)}")
        if path in found:
            raise ValueError(f"{source}: got {path!r} twice, also by its old name; leave one out")
        if path != stored_path:
            _warn_once(f"config.json: {stored_path} is now {path}")
        try:
            found[path] = known[path].checked(tuple(value) if isinstance(value, list) else value)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
    return found


def _advice(path: str, known: Mapping[str, Any]) -> str:
    inside = [other for other in known if other.startswith(f"{path}.")]
    if inside:
        return f", but settings in it, such as {inside[0]!r}"
    return did_you_mean(path, known) + "; the file may be of another experiment, or of other code of this one"


@functools.cache
def _warn_once(message: str) -> None:
    """Logs a warning, once in a process: a run's config is read several times."""
    logging.warning("%s", message)


def _flatten(
    values: Mapping[str, Any], groups: Mapping[str, Any], source: str, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yields the dotted path and the value of each leaf of nested dicts; ``groups`` is a dict with the same groups."""
    for name, value in values.items():
        if "." in str(name):
            raise ValueError(
                f'{source}: got the name {name!r}, expected {{"a": {{"b": value}}}} for a setting a.b'
            )
        group = groups.get(name)
        if isinstance(value, Mapping) and isinstance(group, Mapping):
            yield from _flatten(value, group, source, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_config(config: C, path: Path, flag: str, *, whole: bool = False) -> C:
    """A copy of the config with the values of a run's ``config.json``, see `from_dict`.

    Args:
        config: a nested dataclass of settings.
        path: the file.
        flag: the flag that chose the file; error messages begin with it.
        whole: True if the file should name every setting; a warning tells which ones it lacks.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON object with settings, names unknown settings or one twice, or has values of
            another type or out of bounds.
    """
    if not isinstance(path, PurePath):  # a place in a bucket is one, too
        raise TypeError(f"path: got {path!r}, expected a pathlib.Path")
    if not path.is_file():
        raise FileNotFoundError(f"{flag}: no file {path}; expected the config.json of a run")
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else error
        raise ValueError(f"{flag}: {path} is not JSON ({why}); expected the config.json of a run") from None
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{flag}: {path} holds no settings; expected the config.json of a run")
    found = _read_values(config, values, f"{flag}: {path}")
    missing = [f"{leaf.path}={leaf.text}" for leaf in leaves(config) if leaf.path not in found]
    if whole and missing:
        _warn_once(f"{path}: lacks settings; taken are {', '.join(missing)}")
    return replace(config, found)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; ValueError if it has a name twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is in it twice")
    return values
