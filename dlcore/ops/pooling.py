"""Pooling: smaller feature maps, computed without parameters (lecture: pooling layers)."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import at_least_float32, check_floats, expand_to_rank
from dlcore.ops.dimensions import Padding, border_of, per_dimension
from dlcore.ops.direct_convolution import MAX_SLICES, pad, window_cells
from dlcore.ops.lengths import check_lengths, time_mask, zero_padding
from dlcore.ops.sizes import Geometry, Remainder, make_geometry, output_lengths
from dlcore.utils.checks import check_choice, check_integer

Ties: TypeAlias = Literal["first", "split"]
TIES: tuple[Ties, ...] = ("first", "split")


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
    """The largest value of each window, for every channel on its own: W2 = (W1 - F)/S + 1, D2 = D1.

    In the backward pass the gradient goes to the cell that the value came from, and all others get 0 (lecture:
    worked example).

    Args:
        inputs: ``[B, *spatial, C]``.
        window: F, an integer or one for each spatial dimension.
        strides: S, pixels from one window to the next; None is the size of the window, so that windows lie side by
            side.
        padding: as in `convolution.correlate_channels`, without the paddings that take values from inside; padded
            cells never are the largest.
        dilation: pixels from one cell of the window to the next.
        remainder: what to do if the stride does not divide the size, see `sizes.output_size`.
        ties: if several cells are the largest, the ``"first"`` in reading order gets the whole gradient, or they
            ``"split"`` it.
        lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Cells after
            them do not count; outputs after `sizes.output_lengths` are 0, and so are those whose window holds only
            padding.

    Returns:
        ``[B, *outputs, C]``.

    Raises:
        ValueError: the window does not fit the inputs, in rank or in size; a window lies wholly in the padding; the
            lengths do not fit; or an option is unknown.
        TypeError: the inputs are not real floating point numbers, or a number or the lengths are not integers.

    >>> grid = jnp.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])[None, :, :, None]
    >>> max_pool(grid)[0, :, :, 0].tolist()
    [[6.0, 8.0], [3.0, 4.0]]
    """
    inputs = _check_maps(inputs)
    check_choice("ties", ties, TIES)
    geometry = _pool_geometry(inputs, window, strides, padding, dilation, remainder)
    if lengths is None:
        return _maximum(inputs, geometry, ties)
    lengths = check_lengths(lengths, inputs.shape)
    outputs = _maximum(jnp.where(time_mask(inputs, lengths), inputs, -jnp.inf), geometry, ties)
    real = expand_to_rank(count_cells(lengths[:, None], geometry, 0) > 0, outputs.ndim)
    return _zero_invalid(jnp.where(real, outputs, 0), lengths, geometry, padding, remainder)


def avg_pool(
    inputs: jax.Array,
    window: int | Sequence[int] = 2,
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = 0,
    remainder: Remainder = "error",
    lengths: jax.Array | None = None,
) -> jax.Array:
    """The mean of each window's cells, ``[B, *outputs, C]``; cells in the padding or after a row's end do not count.

    The sums are computed in float32 at least. In the backward pass every cell that counted gets the same share of the
    gradient. Arguments and errors are those of `max_pool`, without dilation and ties; outputs after
    `sizes.output_lengths` are 0 here, too.

    >>> avg_pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    inputs = _check_maps(inputs)
    geometry = _pool_geometry(inputs, window, strides, padding, 1, remainder)
    counts = [count_cells(size, geometry, axis) for axis, size in enumerate(inputs.shape[1:-1])]
    if lengths is not None:
        lengths = check_lengths(lengths, inputs.shape)
        inputs, counts[0] = zero_padding(inputs, lengths), count_cells(lengths[:, None], geometry, 0)
    cells = functools.reduce(lambda counts, others: counts[..., None] * others, counts)
    totals = _total(at_least_float32(inputs), geometry)
    means = (totals / jnp.asarray(cells, totals.dtype).clip(1)[..., None]).astype(inputs.dtype)
    return means if lengths is None else _zero_invalid(means, lengths, geometry, padding, remainder)


def global_max_pool(
    inputs: jax.Array, lengths: jax.Array | None = None, *, ties: Ties = "first"
) -> jax.Array:
    """The largest value of each channel's map, ``[B, *spatial, C]`` -> ``[B, C]``.

    With ``lengths [B]`` only the cells before each row's end in the first spatial dimension count. A row of length 0
    gives 0. ``ties`` is as in `max_pool`.

    Raises:
        ValueError: the inputs have no spatial dimension or an empty one, ``ties`` is unknown, or the lengths do not
            fit.
        TypeError: the inputs are not real floating point numbers, or the lengths are not integers.

    >>> global_max_pool(jnp.array([[[1.0], [5.0], [9.0]]]), jnp.array([2])).tolist()
    [[5.0]]
    """
    inputs = _check_maps(inputs)
    check_choice("ties", ties, TIES)
    if lengths is not None:
        lengths = check_lengths(lengths, inputs.shape)
        inputs = jnp.where(time_mask(inputs, lengths), inputs, -jnp.inf)
    cells = inputs.reshape(len(inputs), math.prod(inputs.shape[1:-1]), inputs.shape[-1])
    if ties == "first":
        first = jnp.argmax(jax.lax.stop_gradient(cells), axis=1, keepdims=True)
        outputs = jnp.take_along_axis(cells, first, axis=1)[:, 0]
    else:
        outputs = cells.max(axis=1)
    return outputs if lengths is None else jnp.where(lengths[:, None] > 0, outputs, 0)


def global_avg_pool(inputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
    """The mean of each channel's map, ``[B, *spatial, C]`` -> ``[B, C]``, computed in float32 at least.

    With ``lengths [B]`` only the cells before each row's end in the first spatial dimension count. A row of length 0
    gives 0. Errors are those of `global_max_pool`.

    >>> global_avg_pool(jnp.array([[[1.0], [5.0], [9.0]]]), jnp.array([2])).tolist()
    [[3.0]]
    """
    inputs = _check_maps(inputs)
    wide, axes = at_least_float32(inputs), tuple(range(1, inputs.ndim - 1))
    if lengths is None:
        return wide.mean(axes).astype(inputs.dtype)
    lengths = check_lengths(lengths, inputs.shape)
    cells = jnp.maximum(lengths, 1).astype(wide.dtype) * math.prod(inputs.shape[2:-1])
    return (zero_padding(wide, lengths).sum(axes) / cells[:, None]).astype(inputs.dtype)


def channel_pool(inputs: jax.Array, size: int, kind: Literal["max", "average"] = "max") -> jax.Array:
    """Pools over neighboring channels instead of places: ``[..., C]`` -> ``[..., C / size]``.

    Args:
        inputs: ``[..., C]``, maps of any rank.
        size: number of channels in a group, a divisor of C.
        kind: ``"max"`` takes the largest value of each group (maxout, Goodfellow et al. 2013), ``"average"`` the mean.

    Raises:
        ValueError: ``size`` does not divide C, or ``kind`` is unknown.
        TypeError: the inputs are not real floating point numbers, or ``size`` is not an integer.

    >>> channel_pool(jnp.array([[1.0, 3.0, 2.0, 0.0]]), 2).tolist()
    [[3.0, 2.0]]
    """
    inputs = check_floats("inputs", inputs, rank=1, layout="[..., C]")
    channels = inputs.shape[-1]
    if check_integer("size", size) > channels or channels % size:
        raise ValueError(f"size: got {size} for {channels} channels, expected a divisor of {channels}")
    check_choice("kind", kind, ("max", "average"))
    groups = inputs.reshape(*inputs.shape[:-1], channels // size, size)
    return groups.max(-1) if kind == "max" else at_least_float32(groups).mean(-1).astype(inputs.dtype)


def _check_maps(inputs: jax.Array) -> jax.Array:
    inputs = check_floats("inputs", inputs)
    if inputs.ndim < 3 or 0 in inputs.shape[1:-1]:
        raise ValueError(
            f"inputs: got shape {inputs.shape}, expected [B, *spatial, C] with no empty spatial dimension; add the "
            "missing axes"
        )
    return inputs


def _pool_geometry(
    inputs: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    dilation: int | Sequence[int],
    remainder: Remainder,
) -> Geometry:
    window = per_dimension("window", window, inputs.ndim - 2)
    strides = window if strides is None else strides
    sizes = inputs.shape[1:-1]
    if border_of(padding):
        raise ValueError(
            f'padding: got "{padding}" for a pool, whose padding does not count, expected "SAME", "VALID", "CAUSAL", '
            "an integer or pairs"
        )
    geometry = make_geometry(sizes, window, strides, padding, dilation, remainder, name="window")
    if any(count_cells(size, geometry, axis).min() == 0 for axis, size in enumerate(sizes)):
        raise ValueError(
            f"padding: got {padding} for window {window} over {sizes} pixels, which puts a window wholly into "
            "the padding, expected less; padding up to half the window always fits"
        )
    return geometry


def count_cells(size: Any, geometry: Geometry, axis: int) -> Any:
    """The number of cells of each window that lie on the inputs, not in the padding, along one dimension.

    Args:
        size: the number of pixels, or an array ``[B, 1]`` of them, one for each row.
        geometry: the geometry of the windows.
        axis: the spatial dimension.

    Returns:
        An array ``[outputs]``, or ``[B, outputs]``.
    """
    window, stride, (before, _), dilation, outputs = geometry.along(axis)
    starts = np.arange(outputs) * stride - before
    # The first cell at or after the first pixel is ceil(-start / dilation).
    first = (-(starts // dilation)).clip(0)
    end = (-((starts - size) // dilation)).clip(max=window)
    return (end - first).clip(0)


def _zero_invalid(
    outputs: jax.Array, lengths: jax.Array, geometry: Geometry, padding: Padding, remainder: Remainder
) -> jax.Array:
    """The outputs with 0 after the last output of each row, for input ``lengths [B]``."""
    window, strides, _, dilation, _ = geometry
    return zero_padding(outputs, output_lengths(lengths, window, strides, padding, dilation, remainder))


def _maximum(inputs: jax.Array, geometry: Geometry, ties: Ties) -> jax.Array:
    padded = pad(inputs, geometry, -jnp.inf)
    if ties == "split":  # jnp.max splits the gradient if it gets all cells at once
        return jnp.stack(window_cells(padded, geometry), axis=-1).max(-1)
    if math.prod(geometry.window) > MAX_SLICES:
        # The last dimension comes first, so that ties go to the first cell in reading order.
        axes = reversed(range(len(geometry.window)))
        return functools.reduce(lambda array, axis: _maximum_along(array, geometry, axis), axes, padded)
    # The derivatives of slices and `where` are pads and `where`, which XLA fuses. The derivative of XLA's own windowed
    # reduction is SelectAndScatter, which makes the gradient of an MNIST network twice as slow on a CPU.
    return functools.reduce(_first_maximum, window_cells(padded, geometry))


def _maximum_along(padded: jax.Array, geometry: Geometry, axis: int) -> jax.Array:
    """The maximum of each window along one spatial dimension, from windows of 1, 2, 4, ... cells.

    Two windows of half the size, or overlapping ones, make a larger window. XLA's own windowed reduction has no
    derivative with dilation.
    """
    window, stride, _, dilation, outputs = geometry.along(axis)
    maxima, cells = padded, 1
    while cells < window:
        further = min(cells, window - cells)
        length = maxima.shape[axis + 1] - further * dilation
        first = jax.lax.slice_in_dim(maxima, 0, length, axis=axis + 1)
        second = jax.lax.slice_in_dim(maxima, further * dilation, None, axis=axis + 1)
        maxima, cells = _first_maximum(first, second), cells + further
    return jax.lax.slice_in_dim(maxima, 0, (outputs - 1) * stride + 1, stride, axis=axis + 1)


def _total(inputs: jax.Array, geometry: Geometry) -> jax.Array:
    """The sum of each window's cells; windows have no dilation."""
    padded = pad(inputs, geometry, 0)
    if math.prod(geometry.window) <= MAX_SLICES:
        return functools.reduce(jnp.add, window_cells(padded, geometry))
    covered = (
        slice(0, (outputs - 1) * stride + window)
        for window, stride, _, _, outputs in zip(*geometry, strict=True)
    )
    start = np.zeros((), padded.dtype)
    window, strides = (1, *geometry.window, 1), (1, *geometry.strides, 1)
    return jax.lax.reduce_window(padded[:, *covered], start, jax.lax.add, window, strides, "VALID")


def _first_maximum(first: jax.Array, second: jax.Array) -> jax.Array:
    """Elementwise maximum. On a tie the whole gradient goes to ``first``; a NaN on either side stays."""
    return jnp.where((first >= second) | (first != first), first, second)
