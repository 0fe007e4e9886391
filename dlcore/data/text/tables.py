"""Tables that an experiment writes, for spreadsheets and other programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.utils.checks import check_instance


def csv_text(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """The text of a CSV file (RFC 4180, but with the line's end of Unix).

    Args:
        columns: the columns by their names, with one entry for each row.

    Raises:
        TypeError: the columns are no dict of sequences.
        ValueError: the columns differ in length.

    >>> print(csv_text({"text": ["so, so", "bad"], "positive": [0.5, 0.2]}), end="")
    text,positive
    "so, so",0.5
    bad,0.2
    """
    check_instance("columns", columns, Mapping, "a dict of columns by name")
    for name, column in columns.items():
        if isinstance(column, str) or not hasattr(column, "__len__"):
            raise TypeError(f"columns[{name!r}]: got {type(column).__name__}, expected a sequence of entries")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns: got {lengths}, expected columns of one length")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
