"""What a batch is: a dict of arrays ``[B, ...]`` by field, with one row for each of its B examples.

These fields have the same meaning everywhere in dlcore; T is the number of time steps:

- ``inputs``: what the model reads. Sequences are float ``[B, T, F]`` or, as symbols, int ``[B, T]``; images are float
  ``[B, H, W, C]``; waveforms are float ``[B, N, 1]``.
- ``lengths``: int ``[B]``, the number of valid time steps of each row. All later steps are padding.
- ``mask``: bool ``[B]``, False for rows that only fill up the batch. A missing mask means that all rows count.
- ``labels``: int classes, ``[B]`` or ``[B, T]``.
- ``targets``: float numbers that a regression predicts, ``[B, ...]``.
- ``resets``: bool ``[B]``, True where a row begins a new stream in a `Stateful` layer.

An experiment may add fields, for instance ``source`` and ``source_lengths``.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

Batch: TypeAlias = dict[str, np.ndarray]
"""The fields of a batch by name."""

Transform: TypeAlias = Callable[[Batch, np.random.Generator], Batch]
"""``transform(batch, generator) -> batch``: changes a whole batch, for instance to augment it."""


def example_count(arrays: Mapping[str, np.ndarray]) -> int:
    """The number of examples, which is the same for all fields.

    Args:
        arrays: fields by name, each ``[examples, ...]``.

    Raises:
        ValueError: the fields have different lengths, or there is no example.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"arrays: got fields of lengths {lengths}, expected the same length, at least 1, for all; "
            "every field holds one row for each example"
        )
    return next(iter(lengths.values()))


def check_batch_size(batch_size: int, examples: int | None) -> None:
    """Checks that 1 <= batch_size <= examples; if ``examples`` is None, there is no upper bound.

    Raises:
        ValueError: the batch size is outside these bounds.
    """
    if batch_size < 1 or (examples is not None and batch_size > examples):
        most = " or more" if examples is None else f" to {examples}, the number of examples"
        raise ValueError(f"batch_size: got {batch_size}, expected 1{most}")


def check_rows(start: int, stop: int, batch_size: int) -> None:
    """Checks that the rows ``start`` to ``stop - 1`` are a part of a batch.

    Raises:
        ValueError: 0 <= start < stop <= batch_size does not hold.
    """
    if not 0 <= start < stop <= batch_size:
        raise ValueError(
            f"rows: got {start} to {stop}, expected a part of 0 to {batch_size} with at least one row"
        )


def slice_rows(batch: Any, start: int, stop: int) -> Any:
    """The rows ``start`` to ``stop - 1`` of every array of a batch.

    Args:
        batch: any pytree of arrays ``[B, ...]``.
        start: the first row.
        stop: the row after the last one.

    Returns:
        A tree like the batch, of arrays ``[stop - start, ...]``.

    >>> slice_rows({"labels": np.arange(4)}, 1, 3)
    {'labels': array([1, 2])}
    """
    return jax.tree.map(lambda array: array[start:stop], batch)
