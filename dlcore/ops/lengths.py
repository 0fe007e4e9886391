"""Padded batches: which of the T steps of each row are its own, and one value of all of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def check_lengths(
    lengths: jax.Array, inputs: Sequence[int], batch_rank: int = 1, name: str = "lengths"
) -> None:
    """Raises unless ``lengths`` says how many of the steps of inputs ``[*batch, T, ...]`` belong to each row.

    Under ``jax.jit`` values are not known and cannot raise: there, lengths below 0 count as 0, above T as T.

    Raises:
        TypeError: no integers. ValueError: another shape than the batch's; or, where the values are known, one
            outside 0..T.
    """
    batch, steps = tuple(inputs[:batch_rank]), inputs[batch_rank]
    if not hasattr(lengths, "dtype"):
        raise TypeError(
            f"{name}: got {type(lengths).__name__}, expected an array of integers; jnp.array({name})"
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{name}: got {lengths.dtype}, expected integers; {name}.astype(int32)")
    if lengths.shape != batch:
        raise ValueError(
            f"{name}: got shape {lengths.shape} for inputs of shape {tuple(inputs)}, expected one a row, {batch}"
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
    """The mask ``[*batch, T]`` of the steps before each row's end.

    >>> valid_steps(jnp.array([0, 2]), 3).tolist()
    [[False, False, False], [True, True, False]]
    """
    return jnp.arange(steps) < lengths[..., None]


def time_mask(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """`valid_steps` in a shape that goes with inputs ``[*batch, T, ...]``: ``[*batch, T, 1, ...]``."""
    mask = valid_steps(lengths, inputs.shape[lengths.ndim])
    return mask.reshape(*mask.shape, *[1] * (inputs.ndim - mask.ndim))


def zero_padding(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """Inputs ``[*batch, T, ...]`` with exactly 0 behind each row's end, whatever stood there, NaN included."""
    return jnp.where(time_mask(inputs, lengths), inputs, jnp.zeros((), inputs.dtype))


def last_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """Each row's last valid step: ``[B, T, ...]`` -> ``[B, ...]``; of a row of length 0, zeros.

    >>> last_over_time(jnp.array([[1.0, 2.0, 0.0]]), jnp.array([2])).tolist()
    [2.0]
    """
    if lengths is None:
        return outputs[:, -1]
    check_lengths(lengths, outputs.shape)
    place = jnp.clip(lengths - 1, 0).reshape(-1, *[1] * (outputs.ndim - 1))
    return jnp.take_along_axis(zero_padding(outputs, lengths), place, axis=1)[:, 0]


def mean_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The mean over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``; of a row of length 0, zeros.

    >>> mean_over_time(jnp.array([[1.0, 2.0, 9.0]]), jnp.array([2])).tolist()
    [1.5]
    """
    if lengths is None:
        return outputs.mean(axis=1)
    check_lengths(lengths, outputs.shape)
    count = jnp.clip(lengths, 1, outputs.shape[1]).reshape(-1, *[1] * (outputs.ndim - 2))
    return zero_padding(outputs, lengths).sum(axis=1) / count.astype(outputs.dtype)


def max_over_time(outputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The maximum over each row's valid steps: ``[B, T, ...]`` -> ``[B, ...]``; of a row of length 0, zeros.

    >>> max_over_time(jnp.array([[-1.0, -2.0, 9.0]]), jnp.array([2])).tolist()
    [-1.0]
    """
    if lengths is None:
        return outputs.max(axis=1)
    check_lengths(lengths, outputs.shape)
    valid = jnp.where(time_mask(outputs, lengths), outputs, -jnp.inf).max(axis=1)
    some = (lengths > 0).reshape(-1, *[1] * (outputs.ndim - 2))
    return jnp.where(some, valid, jnp.zeros((), outputs.dtype))
