"""Writes files so that a reader finds a whole file or none, also if the process is killed."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """A context manager that opens a text file for writing, which takes its name only after all of it is on the disk.

    If the process is killed before, or the body of the context raises, an earlier file of that name stays as it was;
    the new text is in a file whose name ends with `PARTIAL`.
    """
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Returns a string of JSON in which floats that are not finite are null, as the standard asks.

    Args:
        values: values by name, of types that JSON knows. Only numbers that are values themselves become null.
        indent: number of spaces for each level; None: everything is on one line.

    Raises:
        ValueError: a number inside of a nested value is not finite.
        TypeError: JSON does not know the type of a value.

    >>> to_json({"loss": float("nan"), "step": 3})
    '{"loss": null, "step": 3}'
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the values to a file of indented JSON, as `atomic_write` does. Errors are those of `to_json`."""
    with atomic_write(path) as file:
        file.write(to_json(values, indent=2) + "\n")
