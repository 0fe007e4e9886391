"""Locks on files. The system releases a lock when the process that holds it ends, in whatever way."""

import fcntl
from typing import IO, Any


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
