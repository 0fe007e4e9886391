"""Locks on files. The system releases a lock when the process that holds it ends, in whatever way."""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO, Any

LOOKS, LOOK_SECONDS = 3, 0.02


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
    """Locks an open file until the file is closed.

    It waits only as long as a look of `is_locked` lasts.

    Args:
        file: an open file.
        busy: the message of the error.

    Raises:
        BlockingIOError: the file is locked, by another process or through another open handle in this one.
    """
    for _ in range(LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOOK_SECONDS)
    raise BlockingIOError(busy)


def is_locked(path: Path) -> bool:
    """True if a process holds the lock of a file; the look at it takes microseconds and leaves nothing.

    Args:
        path: the file, which need not exist.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
