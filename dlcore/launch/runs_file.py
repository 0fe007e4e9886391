"""A file of runs: one line of flags a run, as a shell reads them."""

import shlex
from pathlib import Path

from dlcore.launch.command import split_flags


def read_runs(flag: str, path: Path) -> list[list[str]]:
    """The flags of each run in a file; empty lines and lines that begin with ``#`` do not count.

    A line is split as a shell does it, with quotes and backslashes; nothing is expanded.

    Args:
        flag: the flag that named the file, for error messages.
        path: the file.

    Raises:
        ValueError: the file has no run; a line has an open quote, is no list of flags, or names a folder.
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    runs = [_read_run(f"{flag}: {path}, line {n}", line) for n, line in lines if line and line[0] != "#"]
    if not runs:
        raise ValueError(f"{flag}: got {path} without a run, expected a line of flags for each run")
    return runs


def _read_run(place: str, line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{place}: got {line!r} ({error}), expected flags as in a shell") from None
    if words[0][:1] != "-":
        raise ValueError(f"{place}: got {words[0]!r}, expected flags such as --config.seed=1")
    named, _ = split_flags(words, "run", "workdir")
    if named != (None, None):
        raise ValueError(
            f"{place}: got a --run or --workdir, expected none; each run has a folder in the sweep's"
        )
    return words
