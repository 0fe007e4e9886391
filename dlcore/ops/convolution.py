"""Convolution and correlation as pure functions (lecture: convolution; convolutional layers).

Convolution flips the kernel, shifts it and multiplies; correlation only shifts and multiplies. Layers, the
lecture's as everyone's, *correlate* their input with the filters; ``flip=True`` makes it true convolution.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dlcore.ops.arrays import check_floats
from dlcore.ops.direct_convolution import correlate_direct
from dlcore.ops.fft_convolution import correlate_by_fft, fft_is_cheaper
from dlcore.ops.sizes import Padding, Remainder, geometry

Mode: TypeAlias = Literal["full", "same", "valid"]
Method: TypeAlias = Literal["auto", "direct", "fft"]


def convolve(signal: ArrayLike, kernel: ArrayLike, mode: Mode = "full", method: Method = "auto") -> jax.Array:
    """Convolution, ``y[n] = sum_k x[k] h[n - k]``, in any number of dimensions (lecture: flip, shift, multiply).

    Args:
        signal: x, as many dimensions as the kernel; integers are computed with as float32.
        kernel: h.
        mode: ``"full"`` has every n where the two overlap, N + F - 1 of them; ``"same"`` the N in which the
            kernel's origin, its middle, lies on the signal; ``"valid"`` the N - F + 1 without borders.
        method: ``"direct"``, ``"fft"``, or what is cheaper.

    Raises:
        ValueError: ranks differ, something is empty, or the kernel is larger than the signal in ``"valid"``.
        TypeError: complex or other numbers that are not real.

    >>> convolve([0.5, 0.5, 0.5], [3, 2, 1]).tolist()
    [1.5, 2.5, 3.0, 1.5, 0.5]
    """
    kernel = _real("kernel", kernel)
    return correlate(signal, jnp.flip(kernel), mode, method)


def correlate(
    signal: ArrayLike, kernel: ArrayLike, mode: Mode = "full", method: Method = "auto"
) -> jax.Array:
    """Correlation, ``y[n] = sum_k x[n + k] h[k]``: convolution with the kernel rotated by 180 degrees.

    Arguments and errors are those of `convolve`. In ``"full"`` mode the first output is the first overlap,
    n = 1 - F.

    >>> correlate([1.0, 2, 3, 4], [1, 0, -1], mode="valid").tolist()
    [-2.0, -2.0]
    """
    signal, kernel = _real("signal", signal), _real("kernel", kernel)
    if signal.ndim != kernel.ndim or not signal.ndim or 0 in signal.shape + kernel.shape:
        raise ValueError(
            f"kernel: got shape {kernel.shape} for a signal of shape {signal.shape}, expected as many "
            "dimensions, at least one, none empty; jax.vmap goes over batches"
        )
    # scipy's and the lecture's middle: of an even kernel, the first cell behind the middle.
    padding = {
        "full": [(size - 1, size - 1) for size in kernel.shape],
        "same": [(size // 2, (size - 1) // 2) for size in kernel.shape],
        "valid": [(0, 0)] * kernel.ndim,
    }
    if mode not in padding:
        raise ValueError(f'mode: got {mode!r}, expected "full", "same" or "valid"')
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
    method: Method = "auto",
) -> jax.Array:
    """A layer's product, ``O_k[m] = sum_{d, i} F_k[i, d] X[m S + i, d]`` (lecture: forward pass).

    Args:
        inputs: X, ``[B, *spatial, D1]``: sequences ``[B, T, C]``, images ``[B, H, W, C]``, ...
        kernel: F, ``[*kernel_size, D1 / groups, K]``; K filters that extend the full depth of their group.
        strides: S, pixels from one application to the next.
        padding: P zeros on every border; pairs (before, after), one a dimension; ``"VALID"`` is 0;
            ``"SAME"`` puts (F - 1)/2 before and what gives ceil(N/S) outputs after; ``"CAUSAL"`` puts all
            before, for sequences.
        dilation: pixels between the weights of a filter.
        groups: channels are cut into this many groups that do not see each other.
        remainder: what to do where the stride does not divide, see `sizes.output_size`.
        method: ``"fft"`` is the same product for long kernels; ``"auto"`` takes what is cheaper.

    Returns:
        O, ``[B, *output sizes, K]``.

    Raises:
        ValueError: ranks, channels, groups or sizes do not fit. TypeError: numbers that are not real floats.

    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> correlate_channels(image, jnp.ones((2, 2, 1, 1)))[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    check_floats("inputs", inputs)
    check_shapes(inputs.shape, kernel.shape, groups)
    shape = geometry(inputs.shape[1:-1], kernel.shape[:-2], strides, padding, dilation, remainder)
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f'method: got {method!r}, expected "auto", "direct" or "fft"')
    if method == "fft" or (method == "auto" and fft_is_cheaper(inputs.shape, kernel.shape, shape)):
        return correlate_by_fft(inputs, kernel, shape, groups)
    return correlate_direct(inputs, kernel.astype(inputs.dtype), shape, groups)


def check_shapes(inputs: Sequence[int], kernel: Sequence[int], groups: int) -> None:
    """ValueError unless a kernel of this shape can be laid over inputs of this shape, group by group."""
    rank = len(kernel) - 2
    if rank < 1 or len(inputs) != rank + 2:
        raise ValueError(
            f"inputs: got shape {tuple(inputs)} for a kernel of shape {tuple(kernel)}, expected "
            "[B, *spatial, channels] with as many spatial dimensions as the kernel has; give kernel_size one "
            "entry a spatial dimension"
        )
    if groups < 1 or inputs[-1] != kernel[-2] * groups or kernel[-1] % groups:
        raise ValueError(
            f"groups: got {groups} for {inputs[-1]} input channels and {kernel[-1]} features (a kernel of "
            f"shape {tuple(kernel)}), expected a divisor of both, with input channels / groups in the kernel"
        )


def _real(name: str, values: ArrayLike) -> jax.Array:
    array = jnp.asarray(values)
    if array.dtype.kind in "iub":
        return array.astype(jnp.float32)
    check_floats(name, array)
    return array
