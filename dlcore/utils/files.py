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
    """Opens a text file for writing that takes its name only after all of it is on the disk.

    If the process is killed before, an earlier file of that name stays as it was; the new text is in a file whose name
    ends with `PARTIAL`.
    """
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON in which numbers that are not finite are null, as the standard asks.

    >>> to_json({"loss": float("nan"), "step": 3})
    '{"loss": null, "step": 3}'
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the values as indented JSON, see `atomic_write` and `to_json`."""
    with atomic_write(path) as file:
        file.write(to_json(values, indent=2) + "\n")
