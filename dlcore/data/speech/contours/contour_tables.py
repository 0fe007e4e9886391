"""Files of contours: a line for each time, separated by commas or semicolons, as CSV or as Weka's ARFF."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data.speech.contours.recordings import FRAME_RATE
from dlcore.utils.checks import shown
from dlcore.utils.files import read_text

TIME_COLUMNS = ("time", "frametime")


class ContourTable(NamedTuple):
    """The contours of a file.

    Attributes:
        names: the names of its C contours.
        values: floats ``[T, C]``, a row for each frame.
    """

    names: tuple[str, ...]
    values: np.ndarray


def read_contours(path: Path, frames: int | None = None) -> ContourTable:
    """The contours of a file, a row for each frame from 0.04 s on.

    The file has a column ``time`` in seconds, or ``frameTime``, with lines 0.04 s apart. The line of 0 s is left out:
    the number at time t belongs to the sound just before t. Blanks around names and numbers, and line ends of Windows,
    do not matter. Columns of texts, such as the name of the recording, are left out.

    Args:
        path: the file, ``.csv`` with a line of names, or ``.arff``.
        frames: T, what comes later is left out; None: all.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no column of time or no other one, a line has another number of columns, a number is
            missing or none, the times are not 0.04 s apart, or there are fewer frames.
    """
    names, rows = _table(path)
    times = [index for index, name in enumerate(names) if name.lower() in TIME_COLUMNS]
    if len(times) != 1:
        raise ValueError(f"{path}: got the columns {', '.join(names)}, expected time among them")
    values = [index for index in range(len(names)) if index != times[0] and not _is_text(rows, index)]
    if not values:
        raise ValueError(
            f"{path}: got the columns {', '.join(names)}, expected one of numbers beside the time"
        )
    table = np.array([[_number(path, row[index]) for index in (times[0], *values)] for row in rows])
    table = table[table[:, 0] > 0.5 / FRAME_RATE]
    count = len(table) if frames is None else frames
    if len(table) < count:
        raise ValueError(f"{path}: got {len(table)} lines after 0 s, expected {count}, 25 for each second")
    expected = np.arange(1, count + 1) / FRAME_RATE
    wrong = np.flatnonzero(np.abs(table[:count, 0] - expected) > 0.25 / FRAME_RATE)
    if len(wrong):
        raise ValueError(
            f"{path}: got the time {table[wrong[0], 0]:g} s in place of {expected[wrong[0]]:g} s, expected a line each "
            f"{1 / FRAME_RATE:g} s"
        )
    return ContourTable(tuple(names[index] for index in values), table[:count, 1:])


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns and the lines of a file."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    if path.suffix == ".arff":
        names = [line.split()[1] for line in lines if line.lower().startswith("@attribute ")]
        places = [index for index, line in enumerate(lines) if line.lower() == "@data"]
        lines = lines[places[0] + 1 :] if places else []
    else:
        names, lines = _cells(lines[0]) if lines else [], lines[1:]
    rows = [_cells(line) for line in lines if line]
    for row in rows:
        if len(row) != len(names):
            raise ValueError(
                f"{path}: got {shown(';'.join(row))}, expected the {len(names)} columns {', '.join(names)}"
            )
    if not rows:
        raise ValueError(f"{path}: got no line with numbers")
    return names, rows


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("'\"") for cell in re.split("[;,]", line)]


def _is_text(rows: list[list[str]], index: int) -> bool:
    """True if no line has a number in a column."""
    return not any(re.fullmatch(r"[-+.\deE]+|nan", row[index], flags=re.IGNORECASE) for row in rows)


def _number(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{path}: got {text!r}, expected a number") from error
    if not np.isfinite(value):
        raise ValueError(f"{path}: got {text!r}, expected a number that is known")
    return value
