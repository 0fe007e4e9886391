"""The standard streams of a process, which may be closed, broken or full: work goes on without them."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


def say(text: str) -> None:
    """Prints a line on stderr. If stderr takes no text, for instance as a closed pipe, the line is lost.

    Args:
        text: the line, without the end of the line.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            # `print` would write the end of the line alone, after what others write.
            sys.stderr.write(f"{text}\n")
        flush(sys.stderr)


def flush(stream: TextIO) -> None:
    """Writes what a stream holds, or drops it if the stream takes no text, so that no later write fails because of it.

    Text that stays in a standard stream would change the exit code of the process.

    Args:
        stream: a stream.
    """
    try:
        stream.flush()
    except (OSError, ValueError):  # a closed pipe, a full disk, a terminal that is gone; a closed stream
        with contextlib.suppress(OSError, ValueError):
            _drop(stream)


def _drop(stream: TextIO) -> None:
    """Lets the stream write into nothing for once."""
    number = stream.fileno()
    kept, nothing = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    stream.flush()
    os.dup2(kept, number)
    os.close(kept)
    os.close(nothing)


def open_missing() -> None:
    """Opens every standard stream that the process was started without; it takes all text and keeps none.

    Without it, the next file that the process opens would get the number of the stream, and libraries would write
    their messages into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the smallest free number, which is that of the stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@contextlib.contextmanager
def printed_into(path: Path) -> Iterator[None]:
    """A context manager in which all that the process prints on stdout and stderr is added to the end of a file.

    That includes what libraries in C and other processes print, since the file takes the place of the descriptors 1
    and 2. A file into which nothing was printed is removed.

    Args:
        path: the file.
    """
    _flush_both()
    with path.open("ab") as file:
        kept = [(number, os.dup(number)) for number in (1, 2)]
        for number, _ in kept:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            _flush_both()
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
            if not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)


def _flush_both() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            flush(stream)
