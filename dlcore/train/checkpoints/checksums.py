"""Checksums of a checkpoint's files: whether it is whole is known before anything is read from it."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlcore.utils.files import PARTIAL, atomic_write

NAME = "checksums.json"

# The two files that Orbax touches after the checksums are written, directly before it commits the folder: into
# the first it puts the time, the second it adds.
TIMED, COMMITTED = "_CHECKPOINT_METADATA", "commit_success.txt"

CHUNK = 2**22  # bytes read at a time


def write_checksums(folder: Path) -> None:
    """Writes ``checksums.json`` into the folder: size and CRC-32 of every file in it, by its path.

    Raises:
        OSError: the disk is full, or a file cannot be read.
    """
    sums = {path.relative_to(folder).as_posix(): _sum(path) for path in _files(folder)}
    with atomic_write(folder / NAME) as file:
        json.dump(sums, file, indent=0)


def find_damage(folder: Path) -> str | None:
    """What is wrong with the folder, in a few words; None where every file is as it was written.

    Sizes are compared first: what is truncated or missing is found without reading the whole.
    """
    return next(_problems(folder), None)


def _problems(folder: Path) -> Iterator[str]:
    try:
        sums = _read(folder / NAME)
    except FileNotFoundError:
        yield f"{NAME} is missing"
        return
    except (OSError, ValueError):
        yield f"{NAME} cannot be read"
        return
    for name in (*sums, COMMITTED):
        if not (folder / name).is_file():
            yield f"{name} is missing"
    for name, (size, _) in sums.items():
        found = (folder / name).stat().st_size
        if found != size and name != TIMED:
            yield f"{name}: got {found} bytes, expected {size}"
    for name, written in sums.items():
        try:
            if _sum(folder / name) != written:
                yield f"{name}: its contents differ from what was written"
        except (OSError, ValueError) as error:
            yield f"{name}: {error}"


def _read(path: Path) -> dict[str, list[int]]:
    """ValueError where it is not what `write` wrote: it can be damaged as well."""
    sums = json.loads(path.read_text())
    if not isinstance(sums, dict) or not all(_is_sum(value) for value in sums.values()):
        raise ValueError(f"{path}: got something else than checksums")
    return sums


def _is_sum(value: Any) -> bool:
    return isinstance(value, list) and [type(number) for number in value] == [int, int]


def _files(folder: Path) -> list[Path]:
    ours = (NAME, NAME + PARTIAL)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ours)


def _sum(path: Path) -> list[int]:
    """Size and CRC-32 of a file's contents; of Orbax's timed file, of all but the time."""
    if path.name == TIMED:
        contents = json.dumps({**json.loads(path.read_text()), "commit_timestamp_nsecs": None}).encode()
        return [len(contents), zlib.crc32(contents)]
    size = crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return [size, crc]
