"""Settings of a window with one entry for each spatial dimension: numbers, and padding in any of its forms."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from dlcore.utils.checks import check_integer, shown

Border: TypeAlias = Literal["CIRCULAR", "REFLECT", "EDGE"]
Padding: TypeAlias = int | Sequence[int | tuple[int, int]] | Literal["SAME", "VALID", "CAUSAL"] | Border
BORDERS: tuple[Border, ...] = ("CIRCULAR", "REFLECT", "EDGE")
"""Paddings of as many places as "SAME" that take values from inside in place of zeros."""


def per_dimension(name: str, value: int | Sequence[int], rank: int, minimum: int = 1) -> tuple[int, ...]:
    """A tuple with one integer for each of ``rank`` spatial dimensions: 3 and (3, 3) both give (3, 3) at rank 2.

    Args:
        name: what error messages call the value.
        value: an integer, or one for each dimension.
        rank: number of dimensions.
        minimum: smallest allowed integer.

    Raises:
        ValueError: the sequence has another length, or an entry is below ``minimum``.
        TypeError: an entry is not an integer.
    """
    entries = entries_of(value)
    if entries is None:
        return (check_integer(name, value, minimum),) * rank
    if len(entries) != rank:
        raise ValueError(
            f"{name}: got {shown(value)}, expected an integer or {rank} of them, one for each dimension"
        )
    return tuple(check_integer(name, entry, minimum) for entry in entries)


def entries_of(value: Any) -> tuple[Any, ...] | None:
    """The entries of a sequence or of an array with axes; None for anything else, such as an integer or a word."""
    many = getattr(value, "ndim", 0) > 0 or (isinstance(value, Sequence) and not isinstance(value, str))
    return tuple(value) if many else None


def first_entry(name: str, value: Any) -> Any:
    """The entry of the first spatial dimension."""
    entries = (value,) if entries_of(value) is None else entries_of(value)
    if not entries:
        raise ValueError(f"{name}: got {shown(value)}, expected an integer or one for each dimension")
    return entries[0]


def border_of(padding: Padding) -> Border | None:
    """The padding's name if it is one of `BORDERS`, else None.

    >>> border_of("CIRCULAR"), border_of("SAME"), border_of(1)
    ('CIRCULAR', None, None)
    """
    return next((border for border in BORDERS if isinstance(padding, str) and padding == border), None)


def resolve_padding(
    padding: Padding,
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The number of places (before, after) for each spatial dimension, from any form of ``padding``.

    ``"SAME"`` puts the lecture's (F - 1)/2 zeros, rounded down, before the first pixel at every stride. XLA's own
    ``SAME`` may put fewer there if the stride is above 1: 0 in place of 1 for 8 pixels, F = 3 and stride 2.
    ``"CAUSAL"`` puts all F - 1 zeros before, so that no output sees its future. ``"CIRCULAR"``, ``"REFLECT"`` and
    ``"EDGE"`` have the places of ``"SAME"``. With dilation F is the number of pixels that the window spans.

    Args:
        padding: a number of zeros for all borders; a number or a pair (before, after) for each dimension; "SAME",
            "VALID" or one of `BORDERS`; or, in one dimension, "CAUSAL".
        sizes: N, the number of pixels along each dimension.
        kernel_size: F for each dimension.
        strides: S for each dimension.
        dilation: pixels from one cell of the window to the next, for each dimension.

    Raises:
        ValueError: the name is unknown or not for this rank, the entries are too few or too many, or one is below 0.
        TypeError: an entry is not an integer.

    >>> resolve_padding("SAME", (8,), (3,), (2,), (1,)), resolve_padding("CAUSAL", (8,), (3,), (1,), (2,))
    (((1, 0),), ((4, 0),))
    """
    rank = len(kernel_size)
    if isinstance(padding, str):
        if padding == "VALID":
            return ((0, 0),) * rank
        if padding == "SAME" or border_of(padding):
            return tuple(map(_same, sizes, kernel_size, strides, dilation))
        if padding == "CAUSAL" and rank == 1:
            return (((kernel_size[0] - 1) * dilation[0], 0),)
        raise ValueError(
            f'padding: got "{padding}" in {rank} dimensions, expected "SAME", "VALID", "CAUSAL" (sequences '
            'only), "CIRCULAR", "REFLECT", "EDGE", an integer or pairs'
        )
    entries = entries_of(padding)
    each: tuple[Any, ...] = (padding,) * rank if entries is None else entries
    if len(each) != rank:
        raise ValueError(
            f"padding: got {shown(padding)}, expected an integer, or an integer or a pair (before, after) for each of "
            f"{rank} dimensions"
        )
    pairs = (per_dimension("padding", entry, 2, minimum=0) for entry in each)
    return tuple((before, after) for before, after in pairs)


def _same(size: int, kernel_size: int, stride: int, dilation: int) -> tuple[int, int]:
    extent = (kernel_size - 1) * dilation + 1
    before = (extent - 1) // 2
    outputs = -(-size // stride)
    return before, max((outputs - 1) * stride + extent - size - before, 0)
