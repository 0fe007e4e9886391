"""Checksums of a checkpoint's files, which tell whether a checkpoint is whole before anything is read from it."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlcore.training.checkpoints.location import walk, write_whole
from dlcore.utils.files import PARTIAL, is_bucket

NAME = "checksums.json"

# Orbax writes these two files in a thread of its own until it commits the folder, so they cannot have a checksum. They
# must be there; nothing of the state is read from them. The second one is the last of all.
COMMITTED = "commit_success.txt"
UNCHECKED = ("_CHECKPOINT_METADATA", COMMITTED)

CHUNK = 2**22  # bytes read at a time


def write_checksums(folder: Path) -> None:
    """Writes ``checksums.json`` into a folder: the size and CRC-32 of every other file in it but `UNCHECKED`, by path.

    Args:
        folder: a checkpoint's folder.

    Raises:
        OSError: a file cannot be read, or ``checksums.json`` cannot be written, for instance on a full disk.
    """
    checksums = {path.relative_to(folder).as_posix(): _checksum(path) for path in _files(folder)}
    write_whole(folder / NAME, json.dumps(checksums, indent=0))


def find_damage(folder: Path) -> str | None:
    """A text of a few words about the first damage of a checkpoint; None if every file is as it was written.

    Sizes are compared first, so a truncated or missing file is found without reading the others.

    Args:
        folder: a checkpoint's folder.
    """
    return next(_problems(folder), None)


def _problems(folder: Path) -> Iterator[str]:
    try:
        checksums = _read(folder / NAME)
    except FileNotFoundError:
        yield f"{NAME} is missing"
        return
    except (OSError, ValueError):
        yield f"{NAME} cannot be read"
        return
    for name in (*checksums, *UNCHECKED):
        if not (folder / name).is_file():
            yield f"{name} is missing"
    for name, (size, _) in checksums.items():
        found = _size(folder / name)
        if found != size:
            yield f"{name}: got {found} bytes, expected {size}"
    for name, written in checksums.items():
        try:
            if _checksum(folder / name) != written:
                yield f"{name}: its contents differ from what was written"
        except OSError as error:
            yield f"{name}: {error}"


def _read(path: Path) -> dict[str, list[int]]:
    """Reads a file of checksums.

    Raises:
        ValueError: the file holds something else; it can be damaged like any other.
    """
    checksums = json.loads(path.read_text())
    if not isinstance(checksums, dict) or not checksums or not all(map(_is_checksum, checksums.values())):
        raise ValueError(f"{path}: got something else than checksums")
    return {
        name: checksum for name, checksum in checksums.items() if name not in UNCHECKED
    }  # dlcore < 0.3 has one


def _is_checksum(value: Any) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [int, int]


def _files(folder: Path) -> list[Path]:
    left_out = [folder / name for name in (NAME, NAME + PARTIAL, *UNCHECKED)]
    return sorted(path for path in walk(folder) if path not in left_out)


def _size(path: Path) -> int:
    status: Any = path.stat()
    return status.length if is_bucket(path) else status.st_size


def _checksum(path: Path) -> list[int]:
    """The size and CRC-32 of a file's contents."""
    size = crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return [size, crc]
