"""Padded batches: which of the T steps of each row are its own."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def check_lengths(lengths: jax.Array, inputs: Sequence[int]) -> None:
    """Raises unless ``lengths`` says how many of the steps of inputs ``[B, T, ...]`` belong to each row.

    Raises:
        TypeError: no integers. ValueError: another shape than [B]; or, where the values are known, one
            outside 0..T.
    """
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths: got {lengths.dtype}, expected integers; lengths.astype(int32)")
    if lengths.shape != tuple(inputs[:1]):
        raise ValueError(
            f"lengths: got shape {lengths.shape} for inputs of shape {tuple(inputs)}, expected one a row, "
            f"{tuple(inputs[:1])}"
        )
    if isinstance(lengths, jax.core.Tracer):
        return
    known = np.asarray(lengths)
    low, high = known.min(initial=0), known.max(initial=0)
    if low < 0 or high > inputs[1]:
        raise ValueError(
            f"lengths: got values from {low} to {high}, expected 0 to {inputs[1]}, the number of steps"
        )


def valid_steps(lengths: jax.Array, steps: int) -> jax.Array:
    """The mask ``[B, T]`` of the steps before each row's end.

    >>> valid_steps(jnp.array([0, 2]), 3).tolist()
    [[False, False, False], [True, True, False]]
    """
    return jnp.arange(steps) < lengths[:, None]


def time_mask(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """`valid_steps` in a shape that goes with inputs ``[B, T, ...]``: ``[B, T, 1, ...]``."""
    mask = valid_steps(lengths, inputs.shape[1])
    return mask.reshape(*mask.shape, *[1] * (inputs.ndim - 2))


def zero_padding(inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """Inputs ``[B, T, ...]`` with exactly 0 behind each row's end, whatever stood there, NaN included."""
    return jnp.where(time_mask(inputs, lengths), inputs, 0)
