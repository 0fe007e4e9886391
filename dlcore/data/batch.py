"""What a batch is: a dict of arrays ``[B, ...]`` by field, with one row for each of its B examples.

These fields have the same meaning everywhere in dlcore; T is the number of time steps:

- ``inputs``: what the model reads. Sequences are float ``[B, T, F]`` or, as symbols, int ``[B, T]``; images are float
  ``[B, H, W, C]``; waveforms are float ``[B, N, 1]``.
- ``lengths``: int ``[B]``, the number of valid time steps of each row. All later steps are padding, also those of
  labels and targets that have a time axis.
- ``mask``: bool ``[B]``, False for rows that only fill up the batch; or with more of the dimensions of the labels or
  targets, such as ``[B, T]``, False for places that do not count. Floats of at least 0 are the
  weights of examples. A missing mask means that everything counts.
- ``labels``: int classes, ``[B]`` or ``[B, T]``; ``[B, N]`` if their times are unknown.
- ``label_lengths``: int ``[B]``, the number of labels of each row whose times are unknown.
- ``targets``: float numbers that a regression predicts, ``[B, ...]``.
- ``resets``: bool ``[B]``, True where a row begins a new stream in a `Stateful` layer.
- ``carry``: only in an evaluation of streams, which adds it: where the stream of each row is before the batch.

An experiment may add fields, for instance ``source`` and ``source_lengths``.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.utils.checks import check_integer

STREAMS = "carry"
"""The collection of a model's variables that holds where the stream of each row is: it belongs to the data."""

Batch: TypeAlias = dict[str, np.ndarray]
"""The fields of a batch by name."""

Transform: TypeAlias = Callable[[Batch, np.random.Generator], Batch]
"""``transform(batch, generator) -> batch``: changes a whole batch, for instance to augment it."""


def check_fields(batch: Any, name: str = "batch") -> None:
    """Checks that the batch is a dict of fields; ``name`` is what the error message calls it.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(batch, Mapping):
        raise TypeError(f"{name}: got {type(batch).__name__}, expected a dict of arrays, the fields by name")


def get_field(batch: Mapping[str, Any], name: str) -> Any:
    """A field that the batch must have.

    Args:
        batch: the fields by name.
        name: the name of the field.

    Raises:
        TypeError: the batch is not a dict.
        ValueError: the field is missing.

    >>> get_field({"inputs": 1}, "labels")
    Traceback (most recent call last):
        ...
    ValueError: labels: got a batch with the fields inputs, expected one with the field labels
    """
    check_fields(batch)
    if name not in batch:
        raise ValueError(
            f"{name}: got a batch with the fields {', '.join(map(str, batch)) or '(none)'}, expected one with the "
            f"field {name}"
        )
    return batch[name]


def row_count(batch: Mapping[str, Any], name: str = "batch") -> int:
    """The number of rows, which is the same for all fields.

    Args:
        batch: fields by name, each an array ``[rows, ...]``. Anything with a ``shape`` or ``len(array)`` and with
            ``array[start:stop]`` counts as an array, but a list, a dict and text do not.
        name: what error messages call the batch.

    Raises:
        TypeError: the batch is not a dict, or a field is not an array of numbers with rows; or it is a masked array,
            whose mask would be lost.
        ValueError: the fields have different numbers of rows, or there is no row.
    """
    check_fields(batch, name)
    for field, array in batch.items():
        _check_array(f"{name}: {field}", array)
    lengths = {field: _length(array) for field, array in batch.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"{name}: got fields of lengths {lengths}, expected the same length, at least 1, for all; "
            "every field holds one row for each example"
        )
    return next(iter(lengths.values()))


def _check_array(name: str, array: Any) -> None:
    """Checks that an array can be cut into rows of numbers."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected a plain one; pass its mask as the field mask")
    plain = isinstance(array, Mapping | list | tuple | str | bytes)
    rows = hasattr(array, "__getitem__") and (hasattr(array, "shape") or hasattr(array, "__len__"))
    rows = rows and getattr(array, "shape", None) != ()
    kind = getattr(getattr(array, "dtype", None), "kind", "f")
    if plain or not rows or kind in "OUSMm":
        got = f"{array.dtype} of shape {array.shape}" if hasattr(array, "dtype") else type(array).__name__
        raise TypeError(f"{name}: got {got}, expected an array of numbers [rows, ...], such as np.array(...)")


def _length(array: Any) -> int:
    """The number of rows; an array of zarr has a shape but no ``len``."""
    return int(array.shape[0]) if hasattr(array, "shape") else len(array)


def mask_rows(batch: Mapping[str, Any], valid: np.ndarray) -> np.ndarray:
    """The batch's ``mask`` with False, or the weight 0, for the rows that are not valid.

    Args:
        batch: the fields; without a ``mask`` all its rows count.
        valid: booleans ``[B]``.

    Returns:
        An array of the shape and type of the mask; booleans ``[B]`` if there is none.
    """
    mask = np.asarray(batch.get("mask", valid))
    return np.where(valid.reshape(-1, *[1] * (mask.ndim - 1)), mask, np.zeros((), mask.dtype))


def pad_rows(name: str, batch: Mapping[str, Any], multiple: int) -> Mapping[str, Any]:
    """The batch with masked copies of its first row at the end, until its row count is a multiple.

    Args:
        name: what error messages call the batch.
        batch: arrays ``[B, ...]`` by name.
        multiple: a number of rows.

    Returns:
        The batch itself if its row count is a multiple already; else a dict of arrays with a ``mask``.

    Raises:
        TypeError, ValueError: the fields are not arrays with the same number of rows, at least one.
    """
    count = row_count(batch, name)
    missing = -count % multiple
    if not missing:
        return batch
    places = np.arange(count + missing)
    padded = {field: np.asarray(array)[np.where(places < count, places, 0)] for field, array in batch.items()}
    return {**padded, "mask": mask_rows(padded, places < count)}


def check_batch_size(batch_size: int, examples: int | None) -> None:
    """Checks that 1 <= batch_size <= examples; if ``examples`` is None, there is no upper bound.

    Raises:
        TypeError: the batch size is not an integer.
        ValueError: it is outside these bounds.
    """
    check_integer("batch_size", batch_size)
    if examples is not None and batch_size > examples:
        raise ValueError(f"batch_size: got {batch_size}, expected 1 to {examples}, the number of examples")


def check_step(step: int) -> int:
    """Checks that the step is one that a run can have, 0 to 2^31 - 1, and returns it as an int.

    Raises:
        TypeError: the step is not an integer.
        ValueError: it is out of its bounds.
    """
    return check_integer("step", step, 0, 2**31 - 1)


def check_rows(start: int, stop: int, batch_size: int) -> None:
    """Checks that the rows ``start`` to ``stop - 1`` are a part of a batch.

    Raises:
        TypeError: they are not integers.
        ValueError: 0 <= start < stop <= batch_size does not hold.
    """
    for name, value in (("start", start), ("stop", stop)):
        check_integer(name, value, -sys.maxsize)
    if not 0 <= start < stop <= batch_size:
        raise ValueError(
            f"rows: got {start} to {stop}, expected a part of 0 to {batch_size} with at least one row"
        )


def check_generator(generator: Any) -> None:
    """Checks that a task or a transform got a generator of random numbers.

    Raises:
        TypeError: it got something else, for instance a seed.
    """
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"generator: got {generator!r}, expected a np.random.Generator; np.random.default_rng(seed)"
        )


def shapes_of(batch: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, ...], Any], ...]:
    """The names, shapes and types of a batch's fields, which determine the program that it needs.

    >>> shapes_of({"labels": np.zeros(3, np.int32)})
    (('labels', (3,), dtype('int32')),)
    """
    return tuple((name, field.shape, field.dtype) for name, field in batch.items())


def with_rows(batch: Mapping[str, Any], times: int) -> dict[str, Any]:
    """The shapes and dtypes, as JAX holds them, of a batch with that many times its rows.

    >>> with_rows({"inputs": np.zeros((2, 3))}, 2)
    {'inputs': ShapeDtypeStruct(shape=(4, 3), dtype=float32)}
    """

    def field_with_rows(field: Any) -> jax.ShapeDtypeStruct:
        shape = jax.eval_shape(jnp.asarray, field)
        return jax.ShapeDtypeStruct((times * shape.shape[0], *shape.shape[1:]), shape.dtype)

    return jax.tree.map(field_with_rows, dict(batch))


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
