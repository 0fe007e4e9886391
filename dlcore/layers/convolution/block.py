"""Blocks of a stack as data: their settings, the windows that they move, and the lengths that they make."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax

from dlcore.layers.convolution.conv import window_of
from dlcore.layers.normalization import Norm
from dlcore.ops import pooling, sizes
from dlcore.ops.dimensions import Padding, per_dimension
from dlcore.utils.checks import check_bool, check_choice, check_instance, check_integer, check_number, shown

POOLS = {"max": pooling.max_pool, "average": pooling.avg_pool}


class WindowMove(NamedTuple):
    """One convolution or pool of a block. Sizes, lengths and receptive fields are computed from it.

    Attributes:
        kind: "conv" or "pool".
        window: F for each spatial dimension.
        strides: S for each spatial dimension.
        padding: P, in any form that `ops.dimensions.resolve_padding` takes.
        dilation: pixels from one cell of the window to the next, for each spatial dimension.
    """

    kind: Literal["conv", "pool"]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]

    def geometry(self, places: Sequence[int], remainder: sizes.Remainder) -> sizes.Geometry:
        """The checked geometry over maps of this size. Errors are those of `ops.sizes.make_geometry`."""
        name = "kernel_size" if self.kind == "conv" else "pool"
        return sizes.make_geometry(places, *self[1:], remainder, name=name)


@dataclasses.dataclass(frozen=True)
class ConvBlock:
    """One block of a `ConvStack`: (conv -> norm -> ReLU) * ``convolutions`` -> pool -> dropout.

    Attributes:
        features: K, the number of filters.
        kernel_size: F of the convolutions.
        strides: S of the first convolution; the others have 1.
        padding: P of the convolutions, as in `Conv`. With "SAME" only the pool and the strides make the maps smaller.
        dilation: dilation of the convolutions.
        groups: number of groups of channels in the convolutions.
        convolutions: number of convolutions in the block.
        norm: None, "batch" (over batch and space) or "layer" (over the channels of each place). With a norm the
            convolutions have no bias.
        residual: True adds the block's input before the last ReLU, through a 1 x 1 convolution if the shape changes
            (He et al. 2015).
        pool: window of the pool; None means no pool.
        pool_strides: strides of the pool; None is the size of its window.
        pool_kind: "max" or "average".
        dropout: the share of activations that training sets to 0, in [0, 1).
        remainder: what to do if a stride does not divide the size, see `ops.sizes.output_size`.

    Raises:
        ValueError: a setting is out of its bounds or unknown.
        TypeError: a setting has another type.
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    dilation: int | Sequence[int] = 1
    groups: int = 1
    convolutions: int = 1
    norm: Norm | None = None
    residual: bool = False
    pool: int | Sequence[int] | None = 2
    pool_strides: int | Sequence[int] | None = None
    pool_kind: Literal["max", "average"] = "max"
    dropout: float = 0.0
    remainder: sizes.Remainder = "error"

    def __post_init__(self) -> None:
        for name in ("features", "groups", "convolutions"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name)))
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))
        check_choice("norm", self.norm, (None, "batch", "layer"))
        check_bool("residual", self.residual)
        check_choice("pool_kind", self.pool_kind, tuple(POOLS))
        if self.pool is None and self.pool_strides is not None:
            raise ValueError(f"pool_strides: got {shown(self.pool_strides)}, expected None, as pool is None")
        for move in self.window_moves():
            sizes.check_window(*move[1:], self.remainder)

    def window_moves(self) -> Iterator[WindowMove]:
        """Iterates over the block's convolutions and its pool, in order, without the shortcut of a residual block."""
        window = window_of(self.kernel_size)
        rank, ones = len(window), (1,) * len(window)
        strides = per_dimension("strides", self.strides, rank)
        dilation = per_dimension("dilation", self.dilation, rank)
        for index in range(self.convolutions):
            yield WindowMove("conv", window, ones if index else strides, self.padding, dilation)
        if self.pool is not None:
            pool = per_dimension("pool", self.pool, rank)
            pool_strides = self.pool if self.pool_strides is None else self.pool_strides
            yield WindowMove("pool", pool, per_dimension("pool_strides", pool_strides, rank), 0, ones)

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """The number of valid outputs of each row, ``[B]``, for its number of valid inputs, ``lengths [B]``."""
        for move in self.window_moves():
            lengths = sizes.output_lengths(lengths, *move[1:], self.remainder)
        return lengths


def temporal_blocks(
    features: int, levels: int, kernel_size: int = 3, dropout: float = 0.0
) -> list[ConvBlock]:
    """A list of the blocks of a temporal convolutional network (Bai, Kolter & Koltun 2018, arXiv 1803.01271).

    Each block has two causal convolutions over time, a shortcut and no pool. The dilation doubles from block to block,
    so that an output sees the last 1 + 2 (F - 1)(2^levels - 1) steps, the present one included.

    Args:
        features: K of every block.
        levels: number of blocks.
        kernel_size: F, in time steps.
        dropout: the share of activations that training sets to 0, in [0, 1).

    Raises:
        ValueError: a number is too small or, for dropout, too large.
        TypeError: a number is not an integer or, for dropout, not a number.

    >>> [block.dilation for block in temporal_blocks(features=8, levels=3)]
    [1, 2, 4]
    """
    return [
        ConvBlock(
            features,
            (kernel_size,),
            padding="CAUSAL",
            dilation=2**level,
            convolutions=2,
            residual=True,
            pool=None,
            dropout=dropout,
        )
        for level in range(check_integer("levels", levels))
    ]


def check_blocks(name: str, blocks: Any) -> Sequence[ConvBlock]:
    """Checks that the blocks of a stack are a sequence of at least one `ConvBlock`, and returns it.

    Raises:
        ValueError: there is no block, or the blocks have different numbers of dimensions.
        TypeError: it is another object, or holds one; ``name`` is what the message calls the blocks.
    """
    check_instance(name, blocks, Sequence, "a list of ConvBlocks")
    if not blocks:
        raise ValueError(f"{name}: got none, expected at least one ConvBlock")
    for index, block in enumerate(blocks):
        check_instance(f"{name}[{index}]", block, ConvBlock, "a ConvBlock")
        rank, first = len(window_of(block.kernel_size)), len(window_of(blocks[0].kernel_size))
        if rank != first:
            raise ValueError(
                f"{name}[{index}]: got a block of {rank} dimensions, expected {first} as in the first"
            )
    return blocks


def check_shortcut(block: ConvBlock, places: Sequence[int], outputs: Sequence[int]) -> None:
    """Checks that the convolutions of a residual block give the number of places that its shortcut has.

    Args:
        block: the block.
        places: the size of the block's input, without batch and channels.
        outputs: the size after its convolutions.

    Raises:
        ValueError: they give another number than one for each stride.
    """
    strides = per_dimension("strides", block.strides, len(places))
    if tuple(-(-size // stride) for size, stride in zip(places, strides, strict=True)) != tuple(outputs):
        raise ValueError(
            f"padding: got {block.padding!r} in a residual block, which changes {tuple(places)} places to "
            f'{tuple(outputs)}, expected a name other than "VALID", so that input and output can be added'
        )
