"""Files that are there whole or not at all."""

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
    """A text file to write, which takes its name when all of it is on the disk, whatever kills the process."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON as everyone reads it: a number that is not finite is null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(to_json(values, indent=2) + "\n")
