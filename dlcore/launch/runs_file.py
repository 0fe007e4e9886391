"""A file of runs: each line has the flags of one run, as a shell reads them or as a JSON object."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dlcore.launch.command import split_flags

T = TypeVar("T")

MOST_NUMBERS = 10  # of further lines with mistakes that a message lists


def read_runs(flag: str, path: Path) -> list[list[str]]:
    """The flags of each run in a file, see `read_each`."""
    return read_each(flag, path, lambda number, arguments: arguments)


def read_each(flag: str, path: Path, read: Callable[[int, list[str]], T]) -> list[T]:
    """What a function makes of the flags of each run in a file.

    A line is split as a shell does it, with quotes and backslashes; nothing is expanded. Or it is a JSON object of
    values by the names of flags, such as ``{"config.seed": 3}``. Empty lines and those that begin with ``#`` do not
    count.

    Args:
        flag: the flag that named the file, for error messages.
        path: the file.
        read: gets the number of a line, and the flags in it.

    Raises:
        ValueError: the file has no run; or some line is no list of flags, names a folder, or ``read`` raised ValueError
            or OSError for it. All lines are read; the message tells the first mistake, and the numbers of the others.
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found: list[T] = []
    mistakes: list[tuple[int, str]] = []
    for number, line in lines:
        if line and line[0] != "#":
            try:
                found.append(read(number, _read_line(line)))
            except (ValueError, OSError) as error:
                mistakes.append((number, str(error)))
    if mistakes:
        raise ValueError(f"{flag}: {path}:{_describe(mistakes)}")
    if not found:
        raise ValueError(f"{flag}: got {path} without a run, expected a line of flags for each run")
    return found


def _describe(mistakes: list[tuple[int, str]]) -> str:
    (number, message), *others = mistakes
    numbers = [str(other) for other, _ in others[:MOST_NUMBERS]] + ["..."] * (len(others) > MOST_NUMBERS)
    return f"{number}: {message}" + (f" (mistakes also in line {', '.join(numbers)})" if others else "")


def _read_line(line: str) -> list[str]:
    words = list(_json_flags(line)) if line[0] == "{" else _shell_words(line)
    named, _ = split_flags(words, "run", "workdir")
    if named != (None, None):
        raise ValueError("got a --run or --workdir, expected none; each run has a folder in that of all runs")
    return words


def _shell_words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"got {line!r} ({error}), expected flags as in a shell") from None
    if words[0][:1] != "-":
        raise ValueError(f"got {words[0]!r}, expected flags such as --config.seed=1")
    return words


def _json_flags(line: str) -> Iterator[str]:
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"got {line!r} ({error}), expected a JSON object of values by flag") from None
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"--{name}: got it {count} times, expected it once")
    for name, value in pairs:
        yield f"--{name}={_text(name, value)}"


def _text(name: str, value: Any) -> str:
    """A value of JSON as a flag has it.

    >>> _text("config.features", [8, 16]), _text("config.init_from", None), _text("config.train.remat", True)
    ('8,16', 'none', 'true')
    """
    if isinstance(value, list) and not any(isinstance(part, list | tuple) for part in value):
        return ",".join(_text(name, part) for part in value)
    if value is None or isinstance(value, str):
        return "none" if value is None else value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise ValueError(
        f"--{name}: got an object or a list in a list, expected a number, text, true, false, null or a list"
    )
