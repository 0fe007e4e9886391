"""Stacks of convolutional blocks (lecture: conv -> ReLU -> pool, repeated)."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import jax
from flax import linen as nn

from dlcore.layers.convolution.conv import Conv, window_of
from dlcore.layers.normalization import Norm, check_norm, normalize
from dlcore.layers.recurrent.noise import check_rate
from dlcore.ops import pooling, sizes
from dlcore.ops.lengths import zero_padding
from dlcore.utils.checks import check_integer

POOLS = {"max": pooling.max_pool, "average": pooling.avg_pool}


class WindowStep(NamedTuple):
    """One movement of a window in a block; what sizes, lengths and receptive fields are computed from."""

    kind: Literal["conv", "pool"]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: sizes.Padding
    dilation: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ConvBlock:
    """One block of a `ConvStack`: conv -> norm -> ReLU, as often as said, -> pool -> dropout.

    Attributes:
        features: K, the number of filters.
        kernel_size, padding, dilation, groups: of the convolutions; "SAME" leaves the shrinking to the pool.
        strides: of the first convolution.
        convolutions: how many there are in the block.
        norm: None, "batch" (over batch and space) or "layer" (over each place's channels); in place of the bias.
        residual: adds the block's input before the last ReLU, through a 1 x 1 convolution where the shape
            changes (He et al. 2015).
        pool: window of the pool; None has no pool.
        pool_strides: of the pool; None is the window's own size.
        pool_kind: "max" or "average".
        dropout: the share of activations set to 0 in training, in [0, 1).
        remainder: what to do where a window does not come out even, see `ops.sizes.output_size`.

    Raises:
        ValueError: a setting is out of its bounds. TypeError: one is no integer.
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    padding: sizes.Padding = "SAME"
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
            check_integer(name, getattr(self, name))
        check_rate("dropout", self.dropout)
        check_norm(self.norm)
        if self.pool_kind not in POOLS:
            raise ValueError(f'pool_kind: got {self.pool_kind!r}, expected "max" or "average"')
        tuple(self.steps())

    def steps(self) -> Iterator[WindowStep]:
        """The windows that move over the maps, in order; the shortcut of a residual block is none of them."""
        window = window_of(self.kernel_size)
        rank, once = len(window), (1,) * len(window)
        strides = sizes.per_dimension("strides", self.strides, rank)
        dilation = sizes.per_dimension("dilation", self.dilation, rank)
        for number in range(self.convolutions):
            yield WindowStep("conv", window, once if number else strides, self.padding, dilation)
        if self.pool is not None:
            pool = sizes.per_dimension("pool", self.pool, rank)
            moves = self.pool if self.pool_strides is None else self.pool_strides
            yield WindowStep("pool", pool, sizes.per_dimension("pool_strides", moves, rank), 0, once)

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """How many outputs each row of a padded batch has, ``[B]`` -> ``[B]``."""
        for step in self.steps():
            lengths = sizes.output_lengths(lengths, *step[1:], self.remainder)
        return lengths


class ConvStack(nn.Module):
    """The lecture's feature extractor: conv -> ReLU -> pool, repeated.

    >>> stack = ConvStack([ConvBlock(16), ConvBlock(32, norm="batch", dropout=0.2)])
    >>> maps, _ = stack.init_with_output(jax.random.key(0), jax.numpy.ones((4, 8, 8, 1)), train=False)
    >>> maps.shape
    (4, 2, 2, 32)
    """

    blocks: Sequence[ConvBlock]

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array | None = None, *, train: bool) -> jax.Array:
        """``[B, *spatial, C]`` -> ``[B, *smaller, features of the last block]``.

        With ``train`` BatchNorm uses (and updates, in ``batch_stats``) the batch's statistics, and dropout
        draws from the rng stream ``dropout``. With ``lengths [B]``, a row's outputs are those it has without its
        padding, batch statistics are of valid places only, and outputs behind `output_lengths` are 0. What
        leaves a block, before dropout, is sown as ``maps`` into ``intermediates``.
        """
        if not self.blocks:
            raise ValueError("blocks: got none, expected at least one ConvBlock")
        for number, block in enumerate(self.blocks):
            inputs = _Block(block, name=f"block_{number}")(inputs, lengths, train=train)
            lengths = None if lengths is None else block.output_lengths(lengths)
        return inputs

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """How many outputs each row of a padded batch has, ``[B]`` -> ``[B]``."""
        return functools.reduce(lambda lengths, block: block.output_lengths(lengths), self.blocks, lengths)


def temporal_blocks(
    features: int, levels: int, kernel_size: int = 3, dropout: float = 0.0
) -> list[ConvBlock]:
    """The blocks of a temporal convolutional network (Bai, Kolter & Koltun 2018, arXiv 1803.01271).

    Each has two causal convolutions and a shortcut; dilation doubles from level to level, so that an output
    sees 1 + 2 (F - 1)(2^levels - 1) steps back to its own.

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
        for level in range(levels)
    ]


class _Block(nn.Module):
    block: ConvBlock

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array | None, *, train: bool) -> jax.Array:
        block, maps, after = self.block, inputs, lengths
        for number, step in enumerate(block.steps()):
            if step.kind == "pool":
                pool = POOLS[block.pool_kind]
                maps = pool(maps, step.window, step.strides, remainder=block.remainder, lengths=after)
            else:
                maps = self._convolve(maps, after, step, number)
            after = None if after is None else sizes.output_lengths(after, *step[1:], block.remainder)
            if step.kind == "conv":
                maps = normalize(block.norm, maps, after, train=train, name=f"norm_{number}")
                if block.residual and number == block.convolutions - 1:
                    maps = maps + self._shortcut(inputs, lengths, maps.shape)
                maps = nn.relu(maps)
        self.sow("intermediates", "maps", maps)
        return nn.Dropout(block.dropout, deterministic=not train)(maps)

    def _convolve(
        self, maps: jax.Array, lengths: jax.Array | None, step: WindowStep, number: int
    ) -> jax.Array:
        return Conv(
            self.block.features,
            step.window,
            step.strides,
            step.padding,
            step.dilation,
            self.block.groups,
            self.block.remainder,
            use_bias=self.block.norm is None,
            kernel_init=nn.initializers.he_normal(),
            name=f"conv_{number}",
        )(maps, lengths)

    def _shortcut(self, inputs: jax.Array, lengths: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
        if inputs.shape == shape:
            return inputs if lengths is None else zero_padding(inputs, lengths)
        window, strides = (1,) * (len(shape) - 2), self.block.strides
        project = Conv(shape[-1], window, strides, remainder="floor", use_bias=False, name="projection")
        outputs = project(inputs, lengths)
        if outputs.shape != shape:
            raise ValueError(
                f"padding: got {self.block.padding!r} in a residual block, which changes {inputs.shape[1:-1]} "
                f'places to {shape[1:-1]}, expected "SAME" or "CAUSAL", so that input and output can be added'
            )
        return outputs
