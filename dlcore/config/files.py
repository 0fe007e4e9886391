"""A config as a dict and as a run's ``config.json``, and back."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

from dlcore.config.renamed import RENAMED
from dlcore.config.settings import did_you_mean, leaves, replace

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """A nested dict of the config's values by name, which JSON can store; tuples stay tuples."""
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
        ValueError: a name is unknown (the message suggests a similar one if there is one), or a value has another type
            or is out of bounds.
    """
    known = {leaf.path: leaf for leaf in leaves(config)}
    found = {}
    for stored_path, value in _flatten(values):
        path = stored_path if stored_path in known else RENAMED.get(stored_path, stored_path)
        if path != stored_path:
            _tell_new_name(stored_path, path)
        if path not in known:
            raise ValueError(f"{source}: no setting {path!r}{did_you_mean(path, known)}")
        try:
            found[path] = known[path].checked(tuple(value) if isinstance(value, list) else value)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
    return replace(config, found)


@functools.cache
def _tell_new_name(old: str, new: str) -> None:
    """Logs the new name of a setting, once in a process: a run's config is read several times."""
    logging.warning("config.json: %s is now %s", old, new)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted path and the value of each leaf of nested dicts."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def read_config(config: C, path: Path, flag: str) -> C:
    """A copy of the config with the values of a run's ``config.json``, see `from_dict`.

    Args:
        config: a nested dataclass of settings.
        path: the file.
        flag: the flag that chose the file; error messages begin with it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON object, names unknown settings, or has values of another type or out of
            bounds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{flag}: no file {path}; expected the config.json of a run")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{flag}: {path} is not JSON ({error}); expected the config.json of a run") from None
    if not isinstance(values, dict):
        raise ValueError(f"{flag}: {path} holds no settings; expected the config.json of a run")
    return from_dict(config, values, f"{flag}: {path}")
