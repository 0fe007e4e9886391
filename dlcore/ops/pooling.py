"""Pooling: a smaller map of what was found, without parameters (lecture: pooling layers)."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import check_floats
from dlcore.ops.direct_convolution import MAX_SLICES, pad, window_cells
from dlcore.ops.lengths import check_lengths, time_mask, zero_padding
from dlcore.ops.sizes import Geometry, Padding, Remainder, geometry, output_lengths, per_dimension
from dlcore.utils.checks import check_integer

Ties: TypeAlias = Literal["first", "split"]


def max_pool(
    inputs: jax.Array,
    window: int | Sequence[int] = 2,
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    remainder: Remainder = "error",
    ties: Ties = "first",
    lengths: jax.Array | None = None,
) -> jax.Array:
    """The largest value of each window, every channel on its own: W2 = (W1 - F)/S + 1, D2 = D1.

    Backward, the gradient goes to the cell that the value came from and all others get 0 (lecture:
    worked example).

    Args:
        inputs: ``[B, *spatial, C]``.
        window: F, an integer or one for each spatial dimension.
        strides: S, the window's own size unless given: windows side by side.
        padding: as of a convolution; padded cells never win.
        dilation: pixels from one cell of the window to the next.
        remainder: what to do where the windows do not come out even, see `sizes.output_size`.
        ties: of equal cells the ``"first"``, in reading order, has the whole gradient, or they ``"split"`` it.
        lengths: ``[B]``, how far each row goes in the first spatial dimension. Cells behind its end do
            not count; outputs behind ``sizes.output_lengths`` are 0.

    Raises:
        ValueError: the window does not fit the inputs, in rank or in size, or lies wholly in the padding.
        TypeError: numbers that are not real floats.

    >>> grid = jnp.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])[None, :, :, None]
    >>> max_pool(grid)[0, :, :, 0].tolist()
    [[6.0, 8.0], [3.0, 4.0]]
    """
    if ties not in ("first", "split"):
        raise ValueError(f'ties: got {ties!r}, expected "first" or "split"')
    shape = _geometry(inputs, window, strides, padding, dilation, remainder)
    if lengths is None:
        return _maximum(inputs, shape, ties)
    check_lengths(lengths, inputs.shape)
    mask = time_mask(inputs, lengths)
    outputs = _maximum(jnp.where(mask, inputs, -jnp.inf), shape, ties)
    after = output_lengths(lengths, shape.window, shape.strides, padding, shape.dilation, remainder)
    return zero_padding(outputs, after)


def avg_pool(
    inputs: jax.Array,
    window: int | Sequence[int] = 2,
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = 0,
    remainder: Remainder = "error",
    lengths: jax.Array | None = None,
) -> jax.Array:
    """The mean of each window's cells; padded cells, and those behind a row's end, do not count.

    Backward, every cell that counted gets the same share of the gradient. Arguments and errors are those of
    `max_pool`.

    >>> avg_pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    shape = _geometry(inputs, window, strides, padding, 1, remainder)
    if lengths is None:
        cells = functools.reduce(np.multiply.outer, _counts(inputs.shape[1:-1], shape))
        return _total(inputs, shape) / jnp.asarray(cells[..., None], inputs.dtype)
    check_lengths(lengths, inputs.shape)
    mask = jnp.broadcast_to(time_mask(inputs, lengths), (*inputs.shape[:-1], 1))
    counts = jnp.maximum(_total(mask.astype(inputs.dtype), shape), 1)
    outputs = _total(jnp.where(mask, inputs, 0), shape) / counts
    after = output_lengths(lengths, shape.window, shape.strides, padding, shape.dilation, remainder)
    return zero_padding(outputs, after)


def global_max_pool(
    inputs: jax.Array, lengths: jax.Array | None = None, *, ties: Ties = "first"
) -> jax.Array:
    """The largest value of each channel's whole map, ``[B, *spatial, C]`` -> ``[B, C]``.

    With ``lengths [B]`` only the cells before each row's end count, and a row of length 0 gives 0.
    Errors are those of `max_pool`.

    >>> global_max_pool(jnp.array([[[1.0], [5.0], [9.0]]]), jnp.array([2])).tolist()
    [[5.0]]
    """
    _check_maps(inputs)
    if lengths is not None:
        check_lengths(lengths, inputs.shape)
        inputs = jnp.where(time_mask(inputs, lengths), inputs, -jnp.inf)
    cells = inputs.reshape(len(inputs), -1, inputs.shape[-1])
    if ties == "first":
        first = jnp.argmax(jax.lax.stop_gradient(cells), axis=1, keepdims=True)
        outputs = jnp.take_along_axis(cells, first, axis=1)[:, 0]
    else:
        outputs = cells.max(axis=1)
    return outputs if lengths is None else jnp.where(lengths[:, None] > 0, outputs, 0)


def global_avg_pool(inputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The mean of each channel's whole map, ``[B, *spatial, C]`` -> ``[B, C]``.

    With ``lengths [B]`` only the cells before each row's end count, and a row of length 0 gives 0.
    Errors are those of `max_pool`.

    >>> global_avg_pool(jnp.array([[[1.0], [5.0], [9.0]]]), jnp.array([2])).tolist()
    [[3.0]]
    """
    _check_maps(inputs)
    axes = tuple(range(1, inputs.ndim - 1))
    if lengths is None:
        return inputs.mean(axes)
    check_lengths(lengths, inputs.shape)
    cells = jnp.maximum(lengths, 1) * math.prod(inputs.shape[2:-1])
    return zero_padding(inputs, lengths).sum(axes) / cells[:, None].astype(inputs.dtype)


def channel_pool(inputs: jax.Array, size: int, kind: Literal["max", "average"] = "max") -> jax.Array:
    """Pools over neighboring channels instead of places: ``[..., C]`` -> ``[..., C / size]``.

    Args:
        inputs: maps of any rank. size: channels in a group, a divisor of C.
        kind: what is taken of each group (the largest: maxout, Goodfellow et al. 2013).

    Raises:
        ValueError: ``size`` does not divide C.

    >>> channel_pool(jnp.array([[1.0, 3.0, 2.0, 0.0]]), 2).tolist()
    [[3.0, 2.0]]
    """
    channels = inputs.shape[-1]
    if check_integer("size", size) > channels or channels % size:
        raise ValueError(f"size: got {size} for {channels} channels, expected a divisor of {channels}")
    if kind not in ("max", "average"):
        raise ValueError(f'kind: got {kind!r}, expected "max" or "average"')
    groups = inputs.reshape(*inputs.shape[:-1], channels // size, size)
    return groups.max(-1) if kind == "max" else groups.mean(-1)


def _check_maps(inputs: jax.Array) -> None:
    check_floats("inputs", inputs)
    if inputs.ndim < 3 or 0 in inputs.shape[1:-1]:
        raise ValueError(
            f"inputs: got shape {inputs.shape}, expected [B, *spatial, C], none empty; add the missing axes"
        )


def _geometry(
    inputs: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    dilation: int | Sequence[int],
    remainder: Remainder,
) -> Geometry:
    _check_maps(inputs)
    window = per_dimension("window", window, inputs.ndim - 2)
    sizes = inputs.shape[1:-1]
    shape = geometry(
        sizes, window, window if strides is None else strides, padding, dilation, remainder, name="window"
    )
    if any(count.min() == 0 for count in _counts(sizes, shape)):
        raise ValueError(
            f"padding: got {padding} for window {window} over {sizes} pixels, which puts a window wholly into "
            "the padding, expected less; padding up to half the window always fits"
        )
    return shape


def _counts(sizes: Sequence[int], shape: Geometry) -> list[np.ndarray]:
    """For each dimension, how many cells of each window are no padding."""
    counts = []
    for size, window, stride, (before, _), dilation, outputs in zip(sizes, *shape, strict=True):
        places = np.arange(outputs)[:, None] * stride + np.arange(window) * dilation - before
        counts.append(((places >= 0) & (places < size)).sum(axis=1))
    return counts


def _maximum(inputs: jax.Array, shape: Geometry, ties: Ties) -> jax.Array:
    padded = pad(inputs, shape, -jnp.inf)
    if ties == "split":  # which jnp.max does, as long as it sees all cells at once
        return jnp.stack(window_cells(padded, shape), axis=-1).max(-1)
    if math.prod(shape.window) > MAX_SLICES:
        return _reduce_window(padded, shape, -jnp.inf, jax.lax.max)
    # Slices and `where` differentiate into pads and `where`, which XLA fuses; its own windowed reduction goes
    # backward by SelectAndScatter, which makes the gradient of an MNIST network twice as slow on a CPU.
    return functools.reduce(_first_maximum, window_cells(padded, shape))


def _total(inputs: jax.Array, shape: Geometry) -> jax.Array:
    padded = pad(inputs, shape, 0)
    if math.prod(shape.window) > MAX_SLICES:
        return _reduce_window(padded, shape, 0.0, jax.lax.add)
    return functools.reduce(jnp.add, window_cells(padded, shape))


def _reduce_window(padded: jax.Array, shape: Geometry, start: float, reduce: Callable[..., Any]) -> jax.Array:
    covered = (
        slice(0, (outputs - 1) * stride + (window - 1) * dilation + 1)
        for window, stride, _, dilation, outputs in zip(*shape, strict=True)
    )
    return jax.lax.reduce_window(
        padded[:, *covered],
        np.asarray(start, padded.dtype),
        reduce,
        (1, *shape.window, 1),
        (1, *shape.strides, 1),
        "VALID",
        window_dilation=(1, *shape.dilation, 1),
    )


def _first_maximum(first: jax.Array, second: jax.Array) -> jax.Array:
    """Elementwise maximum whose whole gradient goes to ``first`` on a tie; a NaN on either side stays."""
    return jnp.where((first >= second) | (first != first), first, second)
