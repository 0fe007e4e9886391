"""Padded batches: which of the T steps of each row are valid, and reductions over the valid steps only.

Mostly the valid steps come first, and lengths say how many there are. A mask says it of each step, if padding comes
first or rows have gaps.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import (
    at_least_float32,
    check_array,
    check_floats,
    check_integer_array,
    check_integers,
    expand_to_rank,
    where_rows,
)
from dlcore.utils.checks import check_integer


def check_lengths(
    lengths: jax.Array, input_shape: Sequence[int], batch_rank: int = 1, name: str = "lengths"
) -> jax.Array:
    """Checks that lengths fit inputs ``[*batch, T, ...]``: one number of valid steps, 0 to T, for each row.

    Traced lengths, as arguments under ``jax.jit`` are, have unknown values, which are not checked. A length below 0
    then becomes 0, and one above T becomes T.

    Args:
        lengths: ``[*batch]`` integers of any integer dtype.
        input_shape: the shape ``[*batch, T, ...]`` of the inputs.
        batch_rank: number of batch dimensions.
        name: what error messages call the lengths.

    Returns:
        The lengths as int32, 0 to T, in which arithmetic does not overflow as in a narrow dtype. Go on with these.

    Raises:
        TypeError: the lengths are not an array of integers (a list is not one).
        ValueError: their shape is not ``[*batch]``, or a known value lies outside 0..T.
    """
    if isinstance(lengths, jax.core.Tracer):
        _check_rows(lengths, input_shape, batch_rank, name)
        return jnp.clip(check_integers(name, lengths), 0, input_shape[batch_rank])
    return jnp.asarray(known_lengths(lengths, input_shape, batch_rank, name), jnp.int32)


def known_lengths(
    lengths: jax.Array | np.ndarray, input_shape: Sequence[int], batch_rank: int = 1, name: str = "lengths"
) -> np.ndarray:
    """As `check_lengths`, for data on the host: nothing is moved to a device.

    Returns:
        The lengths as NumPy's int64.
    """
    _check_rows(lengths, input_shape, batch_rank, name)
    known, steps = np.asarray(lengths).astype(np.int64), input_shape[batch_rank]
    wrong = np.argwhere((known < 0) | (known > steps))
    if len(wrong):
        row = tuple(map(int, wrong[0]))
        raise ValueError(
            f"{name}: got {np.asarray(lengths)[row]} in row {row[0] if len(row) == 1 else row}, expected 0 to {steps}, "
            "the number of steps"
        )
    return known


def _check_rows(lengths: Any, input_shape: Sequence[int], batch_rank: int, name: str) -> None:
    check_integer_array(name, lengths)
    batch = tuple(input_shape[:batch_rank])
    if lengths.shape != batch:
        raise ValueError(
            f"{name}: got shape {lengths.shape} for inputs of shape {tuple(input_shape)}, expected one for each row, "
            f"{batch}"
        )


def valid_steps(lengths: jax.Array, steps: int) -> jax.Array:
    """A boolean mask ``[*batch, T]``, True before each row's end, for lengths ``[*batch]`` and T = ``steps``.

    A length below 0 counts as 0, and one above T as T.

    Raises:
        TypeError: the lengths are not an array of integers, or ``steps`` is not an integer.
        ValueError: ``steps`` is below 0.

    >>> valid_steps(jnp.array([0, 2]), 3).tolist()
    [[False, False, False], [True, True, False]]
    """
    counts = check_integers("lengths", lengths)
    return jnp.arange(check_integer("steps", steps, minimum=0)) < counts[..., None]


def check_mask(
    mask: jax.Array, lengths: jax.Array | None, input_shape: Sequence[int], batch_rank: int = 1
) -> jax.Array:
    """Checks that a mask fits inputs ``[*batch, T, ...]``: True where a step is valid.

    Args:
        mask: ``[*batch, T]`` booleans.
        lengths: ``[*batch]`` integers; if given, a step is valid only if it comes before its row's end, too.
        input_shape: the shape ``[*batch, T, ...]`` of the inputs.
        batch_rank: number of batch dimensions.

    Returns:
        The valid steps, a JAX array of booleans ``[*batch, T]``.

    Raises:
        TypeError: the mask is not an array of booleans; or as in `check_lengths`.
        ValueError: its shape is not ``[*batch, T]``; or as in `check_lengths`.
    """
    check_array("mask", mask, numbers="booleans")
    if mask.dtype != bool:
        raise TypeError(f"mask: got {mask.dtype}, expected booleans; mask > 0")
    steps = tuple(input_shape[: batch_rank + 1])
    if mask.shape != steps:
        raise ValueError(
            f"mask: got shape {mask.shape} for inputs of shape {tuple(input_shape)}, expected one for each step, "
            f"{steps}"
        )
    mask = jnp.asarray(mask)
    if lengths is None:
        return mask
    return mask & valid_steps(check_lengths(lengths, input_shape, batch_rank), steps[-1])


def compact_steps(inputs: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The valid steps of each row moved to its front, in their order, and their number.

    Args:
        inputs: ``[*batch, T, ...]``.
        valid: ``[*batch, T]`` booleans.

    Returns:
        The rows ``[*batch, T, ...]``, which end with zeros in place of the other steps, and the lengths ``[*batch]`` as
        int32.

    >>> rows, lengths = compact_steps(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[False, True, True]]))
    >>> rows.tolist(), lengths.tolist()
    ([[2.0, 3.0, 0.0]], [2])
    """
    order = expand_to_rank(jnp.argsort(~valid, axis=-1, stable=True), inputs.ndim)
    rows = jnp.where(expand_to_rank(valid, inputs.ndim), inputs, jnp.zeros((), inputs.dtype))
    return jnp.take_along_axis(rows, order, axis=valid.ndim - 1), valid.sum(axis=-1, dtype=jnp.int32)


def spread_steps(rows: jax.Array, valid: jax.Array) -> jax.Array:
    """The inverse of `compact_steps`: each step of the rows ``[*batch, T, ...]`` at its place, and exactly 0 elsewhere.

    >>> spread_steps(jnp.array([[2.0, 3.0, 0.0]]), jnp.array([[False, True, True]])).tolist()
    [[0.0, 2.0, 3.0]]
    """
    places = jnp.maximum(jnp.cumsum(valid, axis=-1, dtype=jnp.int32) - 1, 0)
    spread = jnp.take_along_axis(rows, expand_to_rank(places, rows.ndim), axis=valid.ndim - 1)
    return jnp.where(expand_to_rank(valid, rows.ndim), spread, jnp.zeros((), rows.dtype))


def time_mask(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """A boolean mask ``[*batch, T, 1, ...]``, True before each row's end, to broadcast against the inputs.

    Args:
        inputs: ``[*batch, T, ...]``; only their shape counts.
        lengths: ``[*batch]`` integers. They give the number of batch axes and are not checked.
    """
    return expand_to_rank(valid_steps(lengths, inputs.shape[lengths.ndim]), inputs.ndim)


def zero_padding(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """Inputs ``[*batch, T, ...]`` with exactly 0 after each row's end, where they may hold anything, NaN included.

    ``lengths [*batch]`` are not checked.
    """
    return jnp.where(time_mask(inputs, lengths), inputs, jnp.zeros((), inputs.dtype))


def last_over_time(
    outputs: jax.Array, lengths: jax.Array | None = None, *, mask: jax.Array | None = None
) -> jax.Array:
    """Each row's last valid step: ``[B, T, ...]`` -> ``[B, ...]``. A row without a valid step gives zeros.

    Without ``lengths [B]`` and ``mask [B, T]`` it is the last of all T steps. With both, a step must be valid by both.

    Raises:
        ValueError: the outputs have fewer than 2 dimensions; or as in `check_lengths` and `check_mask`.
        TypeError: the outputs are not an array; or as in `check_lengths` and `check_mask`.

    >>> last_over_time(jnp.array([[1.0, 2.0, 0.0]]), jnp.array([2])).tolist()
    [2.0]
    """
    check_array("outputs", outputs, rank=2, layout="[B, T, ...]")
    outputs, lengths = _rows(jnp.asarray(outputs), lengths, mask)
    if lengths is None:
        return outputs[:, -1]
    last = expand_to_rank(jnp.clip(lengths - 1, 0), outputs.ndim)
    return jnp.take_along_axis(zero_padding(outputs, lengths), last, axis=1)[:, 0]


def mean_over_time(
    outputs: jax.Array, lengths: jax.Array | None = None, *, mask: jax.Array | None = None
) -> jax.Array:
    """The mean over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``. A row without a valid step gives zeros.

    It is computed in float32 at least. Without ``lengths [B]`` and ``mask [B, T]`` all steps are valid. T = 0 gives
    zeros. Errors are those of `last_over_time`, and outputs that are not real floating point numbers are a TypeError.

    >>> mean_over_time(jnp.array([[1.0, 2.0, 9.0]]), jnp.array([2])).tolist()
    [1.5]
    """
    outputs, lengths = _rows(check_floats("outputs", outputs, rank=2, layout="[B, T, ...]"), lengths, mask)
    wide = at_least_float32(outputs)
    if lengths is None:
        return wide.mean(axis=1).astype(outputs.dtype)
    count = expand_to_rank(jnp.maximum(lengths, 1), outputs.ndim - 1)
    return (zero_padding(wide, lengths).sum(axis=1) / count.astype(wide.dtype)).astype(outputs.dtype)


def max_over_time(
    outputs: jax.Array, lengths: jax.Array | None = None, *, mask: jax.Array | None = None
) -> jax.Array:
    """The maximum over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``. A row without a valid step gives zeros.

    Without ``lengths [B]`` and ``mask [B, T]`` all steps are valid. T = 0 gives zeros. Errors are those of
    `mean_over_time`.

    >>> max_over_time(jnp.array([[-1.0, -2.0, 9.0]]), mask=jnp.array([[False, True, False]])).tolist()
    [-2.0]
    """
    outputs, lengths = _rows(check_floats("outputs", outputs, rank=2, layout="[B, T, ...]"), lengths, mask)
    if lengths is None:
        return outputs.max(axis=1)
    maxima = jnp.where(time_mask(outputs, lengths), outputs, -jnp.inf).max(axis=1)
    return where_rows(lengths > 0, maxima, jnp.zeros((), outputs.dtype))


def _rows(
    outputs: jax.Array, lengths: jax.Array | None, mask: jax.Array | None
) -> tuple[jax.Array, jax.Array | None]:
    """The outputs with at least one step, valid ones first, and the lengths. Rows of T = 0 become rows of length 0."""
    if mask is not None:
        outputs, lengths = compact_steps(outputs, check_mask(mask, lengths, outputs.shape))
    elif lengths is not None:
        lengths = check_lengths(lengths, outputs.shape)
    if outputs.shape[1]:
        return outputs, lengths
    return jnp.zeros((len(outputs), 1, *outputs.shape[2:]), outputs.dtype), jnp.zeros(len(outputs), jnp.int32)
