"""The arithmetic of sizes: how often a window fits, and with which padding (lecture: key parameters)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import check_integers
from dlcore.ops.dimensions import BORDERS, Padding, border_of, first_entry, per_dimension, resolve_padding
from dlcore.utils.checks import check_choice, check_integer

Remainder: TypeAlias = Literal["error", "floor", "ceil"]
REMAINDERS: tuple[Remainder, ...] = ("error", "floor", "ceil")


def output_size(
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    remainder: Remainder = "error",
    *,
    name: str = "kernel_size",
) -> int:
    """The number of times that a window fits, an int: ``(N - F + 2P) / S + 1`` (lecture: key parameters).

    Args:
        size: N, pixels along one dimension.
        kernel_size: F, cells of the window. With dilation the window spans ``(F - 1) * dilation + 1`` pixels.
        stride: S, pixels from one application to the next.
        padding: P, the number of zeros on both sides, or a pair (before, after).
        dilation: pixels from one cell of the window to the next.
        remainder: what to do if S does not divide the size. ``"error"`` raises. ``"floor"`` drops the last pixels.
            ``"ceil"`` adds a last window that reaches beyond the padding, if it begins at or before the last pixel.
        name: what error messages call the window. For "pool", the pool of a block whose padding is that of its
            convolutions, they advise no padding.

    Raises:
        ValueError: the window does not fit, S does not divide and ``remainder`` is ``"error"``, a number is too
            small, or ``remainder`` is unknown.
        TypeError: an argument is not an integer.

    >>> output_size(6, 3), output_size(6, 3, stride=3), output_size(6, 3, padding=1)
    (4, 2, 6)
    >>> output_size(6, 3, stride=2, remainder="floor"), output_size(6, 3, stride=2, remainder="ceil")
    (2, 3)
    >>> output_size(6, 3, stride=2)  # the lecture's 2.5
    Traceback (most recent call last):
        ...
    ValueError: stride: got 2 for size 6 and kernel_size 3, (6 - 3 + 0) / 2 + 1 = 2.5, expected a whole \
number; the last 1 of 6 pixels would be dropped: padding=(0, 1) fits, or say remainder="floor" or "ceil"
    """
    size, kernel_size = check_integer("size", size), check_integer(name, kernel_size)
    stride, dilation = check_integer("stride", stride), check_integer("dilation", dilation)
    before, after = per_dimension("padding", padding, 2, minimum=0)
    check_choice("remainder", remainder, REMAINDERS)
    extent, padded = (kernel_size - 1) * dilation + 1, size + before + after
    steps, dropped = divmod(padded - extent, stride)
    if steps < 0:
        raise ValueError(
            f"{name}: got {kernel_size}, which spans {extent} pixels, expected at most the padded size "
            f"{padded}; make the window smaller, {'' if name == 'pool' else 'the padding larger, '}or the stack shorter"
        )
    if dropped and remainder == "error":
        fitting = _fitting_padding(size, extent, stride, before, after + stride - dropped)
        advice = "" if name == "pool" else f"{fitting}, or "
        raise ValueError(
            f"stride: got {stride} for size {size} and {name} {kernel_size}, ({size} - {extent} + "
            f"{before + after}) / {stride} + 1 = {(padded - extent) / stride + 1:.3g}, expected a whole number; "
            f"the last {dropped} of {padded} pixels would be dropped: "
            f'{advice}say remainder="floor" or "ceil"'
        )
    over_the_border = remainder == "ceil" and dropped and (steps + 1) * stride < size + before
    return steps + 1 + bool(over_the_border)


def _fitting_padding(size: int, extent: int, stride: int, before: int, after: int) -> str:
    """Names paddings with which the stride divides: equal ones on both sides, or else one that pads the end."""
    least = max(0, -(-(extent - size) // 2))
    enough = range(least, min(extent + stride, least + 1000))  # nobody wants more zeros, and the search ends
    equal = [str(zeros) for zeros in enough if (size - extent + 2 * zeros) % stride == 0][:3]
    return f"padding={' or '.join(equal)} fits" if equal else f"padding=({before}, {after}) fits"


def output_lengths(
    lengths: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    remainder: Remainder = "floor",
) -> jax.Array:
    """`output_size` of each row of a padded batch, in the first spatial dimension, which is time.

    A row of length 0 has 0 outputs, and so has a row that is too short for one window (all named paddings but "VALID"
    make room for one). Of an argument with one entry for each spatial dimension only the first entry counts.

    Args:
        lengths: ``[B]`` integers of any integer dtype, which may be traced by ``jax.jit``; one below 0 counts as 0.
        window: F of the convolution or pool.
        strides: S.
        padding: P, in any form that `dimensions.resolve_padding` takes.
        dilation: pixels from one cell of the window to the next.
        remainder: as in `output_size`, but ``"error"`` does not raise and means ``"floor"``.

    Returns:
        ``[B]`` integers, the number of outputs of each row, as int32.

    Raises:
        ValueError: a number is too small, a sequence is empty, or a name is unknown.
        TypeError: a number is not an integer, or the lengths are not an array of integers.

    >>> output_lengths(jnp.array([0, 2, 6, 7]), 3, strides=2).tolist()
    [0, 0, 2, 3]
    >>> output_lengths(jnp.array([0, 2, 6, 7]), 3, strides=2, padding="SAME").tolist()
    [0, 1, 3, 4]
    """
    lengths = jnp.maximum(check_integers("lengths", lengths), 0)
    check_choice("remainder", remainder, REMAINDERS)
    numbers = {"window": window, "strides": strides, "dilation": dilation}
    cells, stride, spread = (check_integer(name, first_entry(name, value)) for name, value in numbers.items())
    if isinstance(padding, str):
        check_choice("padding", padding, ("SAME", "VALID", "CAUSAL", *BORDERS))
        if padding != "VALID":
            return -(-lengths // stride)
        padding = 0
    before, after = per_dimension("padding", first_entry("padding", padding), 2, minimum=0)
    room = lengths + (before + after - (cells - 1) * spread - 1)
    steps = room // stride
    if remainder == "ceil":
        beyond = -(-room // stride)
        steps = jnp.where(beyond * stride < lengths + before, beyond, steps)
    return jnp.where((lengths > 0) & (room >= 0), steps + 1, 0)


class Geometry(NamedTuple):
    """The geometry of the windows that move over spatial dimensions; each field has one entry for each dimension.

    Attributes:
        window: F, the number of cells of the window.
        strides: S, pixels from one application to the next.
        padding: number of places (before, after); with ``remainder="ceil"`` they include those under the last window.
        dilation: pixels from one cell of the window to the next.
        outputs: the number of times that the window is applied.
    """

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    outputs: tuple[int, ...]

    def along(self, axis: int) -> tuple[int, int, tuple[int, int], int, int]:
        """The entries of one dimension, in the order of the fields."""
        return (
            self.window[axis],
            self.strides[axis],
            self.padding[axis],
            self.dilation[axis],
            self.outputs[axis],
        )


def make_geometry(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int] = 1,
    remainder: Remainder = "error",
    *,
    name: str = "kernel_size",
) -> Geometry:
    """The checked geometry of a window that moves over spatial dimensions.

    Args:
        sizes: N, the number of pixels along each dimension.
        window: F for each dimension.
        strides: as in `output_size`, one for all dimensions or one for each.
        padding: any form that `dimensions.resolve_padding` takes.
        dilation: as in `output_size`, one for all dimensions or one for each.
        remainder: as in `output_size`; it has no effect with a named padding other than "VALID".
        name: what error messages call the window.

    Raises:
        ValueError: the window does not fit, as in `output_size`, "REFLECT" has too few pixels to mirror, or an argument
            has another number of entries.
        TypeError: an argument is not an integer.
    """
    rank = len(window)
    strides = per_dimension("strides", strides, rank)
    dilation = per_dimension("dilation", dilation, rank)
    check_choice("remainder", remainder, REMAINDERS)
    pairs = resolve_padding(padding, sizes, window, strides, dilation)
    if border_of(padding) == "REFLECT":
        _check_reflection(sizes, pairs, name)
    # Then there are ceil(N / S) outputs, whether or not S divides.
    if isinstance(padding, str) and padding != "VALID":
        remainder = "floor"
    outputs = tuple(
        output_size(size, extent, stride, pair, spread, remainder, name=name)
        for size, extent, stride, pair, spread in zip(sizes, window, strides, pairs, dilation, strict=True)
    )
    reached = [
        (count - 1) * stride + (extent - 1) * spread + 1
        for count, stride, extent, spread in zip(outputs, strides, window, dilation, strict=True)
    ]
    pairs = tuple(
        (before, max(after, reach - size - before))
        for (before, after), reach, size in zip(pairs, reached, sizes, strict=True)
    )
    return Geometry(tuple(window), strides, pairs, dilation, outputs)


def _check_reflection(sizes: Sequence[int], pairs: Sequence[tuple[int, int]], name: str) -> None:
    for size, places in zip(sizes, map(max, pairs), strict=True):
        if places >= size:
            raise ValueError(
                f'padding: got "REFLECT" for size {size}, expected at least {places + 1} pixels to mirror {places} of '
                f'them; make {name} smaller, or say "SAME", "CIRCULAR" or "EDGE"'
            )


def check_window(
    window: Sequence[int],
    strides: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    remainder: Remainder,
) -> None:
    """Checks the settings of a window that can be checked without inputs. Errors are those of `make_geometry`."""
    rank = len(window)
    steps, spread = per_dimension("strides", strides, rank), per_dimension("dilation", dilation, rank)
    resolve_padding(padding, window, window, steps, spread)
    check_choice("remainder", remainder, REMAINDERS)
