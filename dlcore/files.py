"""Files that are there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PARTIAL = ".partial"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A text file to write, which takes its name when all of it is on the disk, whatever kills the process."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("w", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
