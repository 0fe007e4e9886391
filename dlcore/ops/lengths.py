"""Padded batches: which of the T steps of each row are valid, and reductions over the valid steps only."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import expand_to_rank, where_rows


def check_lengths(
    lengths: jax.Array, input_shape: Sequence[int], batch_rank: int = 1, name: str = "lengths"
) -> None:
    """Checks that lengths fit inputs ``[*batch, T, ...]``: one number of valid steps, 0 to T, for each row.

    Traced lengths, as arguments under ``jax.jit`` are, have unknown values, which are not checked. There
    `valid_steps` counts a length below 0 as 0 and one above T as T.

    Args:
        lengths: integers ``[*batch]``.
        input_shape: the shape ``[*batch, T, ...]`` of the inputs.
        batch_rank: number of batch dimensions.
        name: what error messages call the lengths.

    Raises:
        TypeError: the lengths are not an array of integers (a list is not one).
        ValueError: their shape is not ``[*batch]``, or a known value lies outside 0..T.
    """
    batch, steps = tuple(input_shape[:batch_rank]), input_shape[batch_rank]
    if not hasattr(lengths, "dtype"):
        raise TypeError(
            f"{name}: got {type(lengths).__name__}, expected an array of integers; jnp.array({name})"
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{name}: got {lengths.dtype}, expected integers; {name}.astype(int32)")
    if lengths.shape != batch:
        raise ValueError(
            f"{name}: got shape {lengths.shape} for inputs of shape {tuple(input_shape)}, expected one for each row, "
            f"{batch}"
        )
    if isinstance(lengths, jax.core.Tracer):
        return
    known = np.asarray(lengths)
    wrong = np.argwhere((known < 0) | (known > steps))
    if len(wrong):
        row = tuple(map(int, wrong[0]))
        raise ValueError(
            f"{name}: got {known[row]} in row {row[0] if len(row) == 1 else row}, expected 0 to {steps}, the number "
            "of steps"
        )


def valid_steps(lengths: jax.Array, steps: int) -> jax.Array:
    """A boolean mask ``[*batch, T]``, True before each row's end, for lengths ``[*batch]`` and T = ``steps``.

    >>> valid_steps(jnp.array([0, 2]), 3).tolist()
    [[False, False, False], [True, True, False]]
    """
    return jnp.arange(steps) < lengths[..., None]


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


def last_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """Each row's last valid step: ``[B, T, ...]`` -> ``[B, ...]``. A row of length 0 gives zeros.

    Without ``lengths [B]`` it is the last of all T steps. Errors are those of `check_lengths`. Under ``jax.jit``, where
    values are not checked, a length above T gives NaN.

    >>> last_over_time(jnp.array([[1.0, 2.0, 0.0]]), jnp.array([2])).tolist()
    [2.0]
    """
    if lengths is None:
        return outputs[:, -1]
    check_lengths(lengths, outputs.shape)
    last = expand_to_rank(jnp.clip(lengths - 1, 0), outputs.ndim)
    return jnp.take_along_axis(zero_padding(outputs, lengths), last, axis=1)[:, 0]


def mean_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The mean over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``. A row of length 0 gives zeros.

    Without ``lengths [B]`` all steps are valid. Errors are those of `check_lengths`.

    >>> mean_over_time(jnp.array([[1.0, 2.0, 9.0]]), jnp.array([2])).tolist()
    [1.5]
    """
    if lengths is None:
        return outputs.mean(axis=1)
    check_lengths(lengths, outputs.shape)
    count = expand_to_rank(jnp.clip(lengths, 1, outputs.shape[1]), outputs.ndim - 1)
    return zero_padding(outputs, lengths).sum(axis=1) / count.astype(outputs.dtype)


def max_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The maximum over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``. A row of length 0 gives zeros.

    Without ``lengths [B]`` all steps are valid. T must be at least 1. Errors are those of `check_lengths`.

    >>> max_over_time(jnp.array([[-1.0, -2.0, 9.0]]), jnp.array([2])).tolist()
    [-1.0]
    """
    if lengths is None:
        return outputs.max(axis=1)
    check_lengths(lengths, outputs.shape)
    maxima = jnp.where(time_mask(outputs, lengths), outputs, -jnp.inf).max(axis=1)
    return where_rows(lengths > 0, maxima, jnp.zeros((), outputs.dtype))
