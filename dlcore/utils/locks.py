"""Locks on files, which end with the process that holds them, however that ends."""

import fcntl
from typing import IO, Any


def lock_file(file: IO[Any], busy: str) -> None:
    """Takes the lock of an open file; closing the file releases it.

    Args:
        file: an open file.
        busy: the message of the error if another process holds the lock.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(busy) from None
