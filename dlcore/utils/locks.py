"""Locks on files. The system releases a lock when the process that holds it ends, in whatever way."""

import errno
import fcntl
import os
from pathlib import Path
from typing import IO, Any


def open_lock(path: Path) -> IO[Any]:
    """Opens a file that exists for its lock alone; it is made if it is missing, and its contents stay as they are.

    Args:
        path: the file.

    Raises:
        ValueError: the path is a link, which could lead to a file of something else.
        OSError: the file cannot be opened.
    """
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(f"{path}: got a link, expected a file of its own; delete the link") from None


def lock_file(file: IO[Any], busy: str) -> None:
    """Locks an open file, without waiting, until the file is closed.

    Args:
        file: an open file.
        busy: the message of the error.

    Raises:
        BlockingIOError: the file is locked, by another process or through another open handle in this one.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(busy) from None
