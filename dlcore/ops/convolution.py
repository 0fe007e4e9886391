"""Convolution and correlation as pure functions (lecture: convolution; convolutional layers).

Convolution flips the kernel, shifts it and multiplies. Correlation only shifts and multiplies. Convolutional layers
*correlate* their input with the filters, in the lecture as everywhere; ``flip=True`` of `Conv` makes them convolve.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dlcore.ops.arrays import check_floats
from dlcore.ops.borders import pad_borders
from dlcore.ops.dimensions import Padding, border_of
from dlcore.ops.direct_convolution import correlate_direct
from dlcore.ops.fft_convolution import correlate_by_fft
from dlcore.ops.sizes import Remainder, make_geometry
from dlcore.utils.checks import check_choice, check_integer, shown

Mode: TypeAlias = Literal["full", "same", "valid"]
Method: TypeAlias = Literal["direct", "fft"]
METHODS: tuple[Method, ...] = ("direct", "fft")


def convolve(
    signal: ArrayLike, kernel: ArrayLike, mode: Mode = "full", method: Method = "direct"
) -> jax.Array:
    """Convolution, ``y[n] = sum_k x[k] h[n - k]``, in any number of dimensions (lecture: flip, shift, multiply).

    Args:
        signal: x, with N entries along a dimension, and without batch or channels. Integers become float32.
        kernel: h, with F entries along a dimension and as many dimensions as the signal.
        mode: the outputs that are returned. ``"full"`` returns every n where signal and kernel overlap, N + F - 1
            of them in each dimension. ``"same"`` returns the N where the kernel's origin, its middle, lies on the
            signal. ``"valid"`` returns the N - F + 1 where the whole kernel lies on the signal.
        method: ``"direct"``, or ``"fft"``, which is faster for long kernels. With ``"fft"`` every output depends on the
            whole signal, see `fft_convolution.correlate_by_fft`.

    Returns:
        y, an array with as many dimensions as the signal, in the signal's dtype.

    Raises:
        ValueError: ranks differ or are 0, an array is empty, the kernel is larger than the signal in mode
            ``"valid"``, or mode or method is unknown.
        TypeError: the numbers are not real.

    >>> convolve([0.5, 0.5, 0.5], [3, 2, 1]).tolist()
    [1.5, 2.5, 3.0, 1.5, 0.5]
    """
    kernel = _as_real("kernel", kernel)
    return correlate(signal, jnp.flip(kernel), mode, method)


def correlate(
    signal: ArrayLike, kernel: ArrayLike, mode: Mode = "full", method: Method = "direct"
) -> jax.Array:
    """Correlation, ``y[n] = sum_k x[n + k] h[k]``: convolution with the kernel rotated by 180 degrees.

    Arguments, result and errors are those of `convolve`. In mode ``"full"`` the first output is that of the first
    overlap, n = 1 - F.

    >>> correlate([1.0, 2, 3, 4], [1, 0, -1], mode="valid").tolist()
    [-2.0, -2.0]
    """
    signal, kernel = _as_real("signal", signal), _as_real("kernel", kernel)
    if signal.ndim != kernel.ndim or not signal.ndim or 0 in signal.shape + kernel.shape:
        raise ValueError(
            f"kernel: got shape {kernel.shape} for a signal of shape {signal.shape}, expected as many "
            "dimensions, at least one, none empty; use jax.vmap for batches"
        )
    # The middle as scipy and the lecture define it: the middle of an even kernel is the cell after its center.
    padding = {
        "full": [(size - 1, size - 1) for size in kernel.shape],
        "same": [(size // 2, (size - 1) // 2) for size in kernel.shape],
        "valid": [(0, 0)] * kernel.ndim,
    }
    check_choice("mode", mode, tuple(padding))
    outputs = correlate_channels(
        signal[None, ..., None], kernel[..., None, None], padding=padding[mode], method=method
    )
    return outputs[0, ..., 0]


def correlate_channels(
    inputs: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    remainder: Remainder = "error",
    method: Method = "direct",
    lengths: jax.Array | None = None,
) -> jax.Array:
    """The product of a convolutional layer, ``O_k[m] = sum_{d, i} F_k[i, d] X[m S + i, d]`` (lecture: forward pass).

    Args:
        inputs: X, ``[B, *spatial, D1]``: sequences ``[B, T, C]``, images ``[B, H, W, C]``, ...
        kernel: F, ``[*kernel_size, D1 / groups, K]``, K filters that extend the full depth of their group.
        strides: S, pixels from one application to the next.
        padding: P zeros on every border, or a number or a pair (before, after) for each dimension. ``"VALID"`` is 0.
            ``"SAME"`` puts (F - 1)/2 zeros before and as many after as give ceil(N/S) outputs. ``"CAUSAL"``, for
            sequences, puts all F - 1 zeros before. ``"CIRCULAR"``, ``"REFLECT"`` and ``"EDGE"`` have as many outputs
            as "SAME", and in place of its zeros the values from the other border, those that a mirror in the first and
            last pixel shows, or these two pixels. With dilation F is the number of pixels that a filter spans.
        dilation: distance in pixels of neighboring weights of a filter.
        groups: number of groups into which the channels are cut. A group sees only its own channels.
        remainder: what to do if the stride does not divide the size, see `sizes.output_size`.
        method: ``"direct"``, in which an output depends on the places under its window only, or ``"fft"``, which is
            faster for long kernels, but lets every output of a row depend on the whole row, its future included, see
            `fft_convolution.correlate_by_fft`.
        lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Only
            "CIRCULAR", "REFLECT" and "EDGE" read them: a row's border is after its own last place, see
            `borders.pad_borders`. None means that all places are valid.

    Returns:
        O, ``[B, *outputs, K]``, in the dtype of the inputs.

    Raises:
        ValueError: ranks, channels, groups, sizes or lengths do not fit, "REFLECT" has too few pixels to mirror, or an
            option is unknown.
        TypeError: inputs or kernel are not real floating point numbers, or a stride, dilation, padding, number of
            groups or length is not an integer.

    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> correlate_channels(image, jnp.ones((2, 2, 1, 1)))[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    inputs, kernel = check_floats("inputs", inputs), check_floats("kernel", kernel)
    check_shapes(inputs.shape, kernel.shape, groups)
    check_choice("method", method, METHODS)
    geometry = make_geometry(inputs.shape[1:-1], kernel.shape[:-2], strides, padding, dilation, remainder)
    border = border_of(padding)
    if border is not None:
        inputs = pad_borders(inputs, geometry.padding, border, lengths)
        geometry = geometry._replace(padding=((0, 0),) * len(geometry.window))
    if method == "fft":
        return correlate_by_fft(inputs, kernel, geometry, groups)
    return correlate_direct(inputs, kernel.astype(inputs.dtype), geometry, groups)


def check_shapes(input_shape: Sequence[int], kernel_shape: Sequence[int], groups: int) -> None:
    """Checks that a kernel fits inputs.

    Args:
        input_shape: ``[B, *spatial, D1]``.
        kernel_shape: ``[*kernel_size, D1 / groups, K]``.
        groups: number of groups of channels, a divisor of D1 and K.

    Raises:
        ValueError: the ranks do not agree, channels and groups do not, or there is no channel.
        TypeError: groups is not an integer.
    """
    rank = len(kernel_shape) - 2
    if rank < 1 or len(input_shape) != rank + 2:
        raise ValueError(
            f"inputs: got shape {tuple(input_shape)} for a kernel of shape {tuple(kernel_shape)}, expected "
            "[B, *spatial, channels] with as many spatial dimensions as the kernel has; give kernel_size one "
            "entry for each spatial dimension"
        )
    if not input_shape[-1]:
        raise ValueError(f"inputs: got shape {tuple(input_shape)}, expected at least one channel")
    check_integer("groups", groups)
    if input_shape[-1] != kernel_shape[-2] * groups or kernel_shape[-1] % groups:
        raise ValueError(
            f"groups: got {groups} for {input_shape[-1]} input channels and {kernel_shape[-1]} features (a kernel of "
            f"shape {tuple(kernel_shape)}), expected a divisor of both, with input channels / groups in the kernel"
        )


def _as_real(name: str, values: ArrayLike) -> jax.Array:
    """The values, numbers or lists of them included, as floating point numbers; TypeError if they are not real."""
    if isinstance(values, np.ma.MaskedArray):
        return check_floats(name, values)  # which refuses it
    try:
        array = jnp.asarray(values)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: got {shown(values)}, expected an array of real numbers") from None
    whole = jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool
    return array.astype(jnp.float32) if whole else check_floats(name, array)
