"""Convolutional layers as pure functions, and the arithmetic of their sizes (lecture: convolutional layers).

Images are ``[B, H, W, C]``, sequences ``[B, T, C]``, volumes ``[B, D, H, W, C]``. As in the lecture's
layers (and everyone's), a layer computes the *correlation* of its input with the filters.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
from jax import lax

Padding: TypeAlias = int | Sequence[int | tuple[int, int]] | Literal["SAME", "VALID"]
Remainder: TypeAlias = Literal["error", "floor"]

_LAYOUTS = {1: ("NTC", "TIO", "NTC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def per_dimension(name: str, value: int | Sequence[int], rank: int, least: int = 1) -> tuple[int, ...]:
    """``value`` once for each of ``rank`` spatial dimensions: 3 and (3, 3) mean the same at rank 2.

    Raises:
        ValueError: a sequence of another length, or an entry below ``least``.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{name}: got {value}, expected an integer or {rank} of them, one a dimension")
    if any(entry < least for entry in values):
        raise ValueError(f"{name}: got {value}, expected integers >= {least}")
    return values


def output_size(
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    remainder: Remainder = "error",
) -> int:
    """How many times a filter fits: ``(N - F + 2P) / S + 1`` (lecture: key parameters).

    Args:
        size: N, pixels along one dimension.
        kernel_size: F, the filter's pixels; dilated, it spans ``(F - 1) * dilation + 1``.
        stride: S, pixels from one application to the next.
        padding: P, zeros on both sides, or (before, after).
        dilation: pixels from one filter weight to the next.
        remainder: where S does not divide, ``"error"`` refuses and ``"floor"`` drops the last pixels.

    Raises:
        ValueError: the filter does not fit, or does not come out even.

    >>> output_size(6, 3), output_size(6, 3, stride=3), output_size(6, 3, padding=1)
    (4, 2, 6)
    >>> output_size(6, 3, stride=2)  # the lecture's 2.5
    Traceback (most recent call last):
        ...
    ValueError: stride: got 2 for size 6 and kernel_size 3, (6 - 3 + 0) / 2 + 1 = 2.5, expected a whole \
number; the last 1 of 6 pixels would be dropped: change the padding, or say remainder="floor"
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    extent = (kernel_size - 1) * dilation + 1
    steps, dropped = divmod(size + before + after - extent, stride)
    if steps < 0:
        raise ValueError(
            f"kernel_size: got {kernel_size}, which spans {extent} pixels, expected at most the padded "
            f"size {size + before + after}; make the kernel smaller, the padding larger, or the stack shorter"
        )
    if dropped and remainder == "error":
        exact = (size + before + after - extent) / stride + 1
        raise ValueError(
            f"stride: got {stride} for size {size} and kernel_size {kernel_size}, "
            f"({size} - {extent} + {before + after}) / {stride} + 1 = {exact:.3g}, expected a whole number; "
            f"the last {dropped} of {size + before + after} pixels would be dropped: change the padding, "
            'or say remainder="floor"'
        )
    return steps + 1


def correlate_channels(
    inputs: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    remainder: Remainder = "error",
) -> jax.Array:
    """A layer's product, ``O_k[m] = sum_{d, i} F_k[i, d] X[m S + i, d]`` (lecture: forward pass).

    Args:
        inputs: X, ``[B, *spatial, D1]`` with one to three spatial dimensions.
        kernel: F, ``[*kernel_size, D1 / groups, K]``; K filters that extend the full depth of their group.
        strides: S, pixels from one application to the next.
        padding: P zeros on every border; pairs (before, after), one a dimension; ``"VALID"`` is 0;
            ``"SAME"`` puts (F - 1)/2 before and what gives ceil(N/S) outputs after.
        dilation: pixels between the weights of a filter.
        groups: channels are cut into this many groups that do not see each other.
        remainder: what to do where the stride does not divide, see `output_size`.

    Returns:
        O, ``[B, *output sizes, K]``.

    Raises:
        ValueError: ranks, channels, groups or sizes do not fit.

    >>> import jax.numpy as jnp
    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> correlate_channels(image, jnp.ones((2, 2, 1, 1)))[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    check_shapes(inputs.shape, kernel.shape, groups)
    rank = kernel.ndim - 2
    window, sizes = kernel.shape[:rank], inputs.shape[1:-1]
    strides = per_dimension("strides", strides, rank)
    dilation = per_dimension("dilation", dilation, rank)
    pairs = resolve_padding(padding, sizes, window, strides, dilation)
    for size, extent, stride, pair, spread in zip(sizes, window, strides, pairs, dilation, strict=True):
        output_size(size, extent, stride, pair, spread, remainder)
    return lax.conv_general_dilated(
        inputs,
        kernel,
        strides,
        pairs,
        rhs_dilation=dilation,
        dimension_numbers=_LAYOUTS[rank],
        feature_group_count=groups,
    )


def check_shapes(inputs: Sequence[int], kernel: Sequence[int], groups: int) -> None:
    """ValueError unless a kernel of this shape can be laid over inputs of this shape, group by group."""
    rank = len(kernel) - 2
    if rank not in _LAYOUTS or len(inputs) != rank + 2:
        raise ValueError(
            f"inputs: got shape {tuple(inputs)} for a kernel of shape {tuple(kernel)}, expected "
            "[B, *spatial, channels] with as many spatial dimensions (1 to 3) as the kernel has; "
            "give kernel_size one entry a spatial dimension"
        )
    if groups < 1 or inputs[-1] != kernel[-2] * groups or kernel[-1] % groups:
        raise ValueError(
            f"groups: got {groups} for {inputs[-1]} input channels and {kernel[-1]} features (a kernel of "
            f"shape {tuple(kernel)}), expected a divisor of both, with input channels / groups in the kernel"
        )


def resolve_padding(
    padding: Padding,
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Zeros (before, after) for each spatial dimension, whatever way the user said it.

    ``"SAME"`` is the lecture's (F - 1)/2 on the leading side at every stride; XLA's own ``SAME`` moves
    by a pixel when the stride is 2.

    >>> resolve_padding("SAME", (8,), (3,), (2,), (1,))
    ((1, 0),)
    """
    rank = len(kernel_size)
    if isinstance(padding, str):
        if padding == "VALID":
            return ((0, 0),) * rank
        if padding == "SAME":
            return tuple(map(_same, sizes, kernel_size, strides, dilation))
        raise ValueError(f'padding: got "{padding}", expected "SAME", "VALID", an integer or pairs')
    each = (padding,) * rank if isinstance(padding, int) else tuple(padding)
    pairs = [(entry, entry) if isinstance(entry, int) else tuple(entry) for entry in each]
    if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError(
            f"padding: got {padding}, expected zeros >= 0: an integer, or an integer or a pair "
            f"(before, after) for each of {rank} dimensions"
        )
    return tuple((before, after) for before, after in pairs)


def _same(size: int, kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    extent = (kernel_size - 1) * dilation + 1
    before = (extent - 1) // 2
    outputs = -(-size // stride)
    return before, (outputs - 1) * stride + extent - size - before
