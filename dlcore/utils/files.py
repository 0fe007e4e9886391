"""Writes files so that a reader finds a whole file or none, also if the process is killed."""

import contextlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

PARTIAL = ".partial"
BUCKET = "gs://"


def user_path(name: str, text: str | os.PathLike[str]) -> Path:
    """The path that a user wrote, in which ``~`` and ``~USER`` stand for a home folder.

    Args:
        name: what error messages call the path.
        text: the path.

    Raises:
        TypeError: ``text`` is no path.
        ValueError: it is empty, a URL such as ``gs://bucket/run``, or no UTF-8; or it begins with the home folder of an
            unknown user.

    >>> user_path("--workdir", "runs/a")
    PosixPath('runs/a')
    """
    if not isinstance(text, str | os.PathLike):
        raise TypeError(f"{name}: got {text!r}, expected a path")
    path = os.fspath(text)
    if not path:
        raise ValueError(f"{name}: got an empty text, expected a path")
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", path):
        raise ValueError(
            f"{name}: got {path!r}, expected a path on this machine; a bucket can be mounted, for instance with "
            "gcsfuse, and --config.checkpoint.folder=gs://... puts the checkpoints into one"
        )
    # A NUL, which no path can have, or what is left of bytes that are no UTF-8.
    if re.search("[\0\ud800-\udfff]", path):
        raise ValueError(f"{name}: got {path!r}, expected a path in UTF-8")
    expanded = os.path.expanduser(path)
    if path.startswith("~") and expanded == path:
        raise ValueError(
            f"{name}: got {path!r}, but the home folder of {path.split('/')[0]} is not known; expected a whole path, "
            "or ./ before the ~ of a name"
        )
    return Path(expanded)


def read_text(path: Path, mend: str = "fetch it anew") -> str:
    """The text of a file in UTF-8, with or without its mark, and with a line's end as Python has it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text in UTF-8; ``mend`` is what the message says to do.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"path: got {path}, which is no text in UTF-8 ({error}); {mend}") from error


def is_bucket(path: Any) -> bool:
    """True if a path or text names a place in a bucket of Google Cloud Storage."""
    return str(path).startswith(BUCKET)


@contextlib.contextmanager
def atomic_write_bytes(path: Path) -> Iterator[BinaryIO]:
    """A context manager that opens a file for writing, which takes its name only after all of it is on the disk.

    If the process is killed before, or the body of the context raises, an earlier file of that name stays as it was;
    the new content is in a file whose name ends with `PARTIAL`. Links with these names are replaced, not followed.
    """
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)  # of a killed process
    with partial.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """A context manager that opens a text file in UTF-8 as `atomic_write_bytes` does."""
    with atomic_write_bytes(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Returns a string of JSON in which floats that are not finite are null, as the standard asks.

    Args:
        values: values by name, of types that JSON knows.
        indent: number of spaces for each level; None: everything is on one line.

    Raises:
        TypeError: JSON does not know the type of a value.

    >>> to_json({"loss": float("nan"), "step": 3, "f1": [0.5, float("inf")]})
    '{"loss": null, "step": 3, "f1": [0.5, null]}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    """The value with None in place of each float that is not finite, at every depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the values to a file of indented JSON, as `atomic_write` does. Errors are those of `to_json`."""
    with atomic_write(path) as file:
        file.write(to_json(values, indent=2) + "\n")
