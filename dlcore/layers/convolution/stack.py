"""Stacks of convolutional blocks (lecture: conv -> ReLU -> pool, repeated)."""

import functools
from collections.abc import Sequence

import jax
from flax import linen as nn

from dlcore.layers.convolution.block import POOLS, ConvBlock, WindowMove, check_blocks, check_shortcut
from dlcore.layers.convolution.conv import Conv
from dlcore.layers.normalization import normalize
from dlcore.ops import sizes
from dlcore.ops.arrays import check_floats
from dlcore.ops.lengths import check_lengths, zero_padding
from dlcore.utils.checks import check_bool


class ConvStack(nn.Module):
    """The lecture's feature extractor: conv -> ReLU -> pool, repeated.

    Attributes:
        blocks: the blocks in order.

    Raises:
        ValueError: there is no block, or the blocks have different numbers of dimensions.
        TypeError: the blocks are not a sequence of `ConvBlock`.

    >>> stack = ConvStack([ConvBlock(16), ConvBlock(32, norm="batch", dropout=0.2)])
    >>> maps, _ = jax.eval_shape(stack.init_with_output, jax.random.key(0), jax.numpy.ones((4, 8, 8, 1)))
    >>> maps.shape
    (4, 2, 2, 32)
    """

    blocks: Sequence[ConvBlock]

    def __post_init__(self) -> None:
        check_blocks("blocks", self.blocks)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, inputs: jax.Array, lengths: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Runs the blocks. The output of each block, before dropout, is sown as ``maps`` into ``intermediates``.

        Args:
            inputs: ``[B, *spatial, C]``: sequences, images or volumes.
            lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Each row
                has the outputs that it has without its padding, batch statistics count valid places only, and outputs
                after `output_lengths` are 0. None means that all places are valid.
            train: True if BatchNorm uses the statistics of the batch (and updates those in ``batch_stats``), and
                dropout draws from the rng stream ``dropout``.

        Returns:
            ``[B, *outputs, K]``, where K is the number of features of the last block.

        Raises:
            ValueError: a shape, a size or a length does not fit.
            TypeError: the inputs are not real floating point numbers, the lengths are not integers, or ``train`` is not
                a boolean.
        """
        check_bool("train", train)
        inputs = check_floats("inputs", inputs, rank=3, layout="[B, *spatial, channels]")
        lengths = None if lengths is None else check_lengths(lengths, inputs.shape)
        for index, block in enumerate(self.blocks):
            inputs = _Block(block, name=f"block_{index}")(inputs, lengths, train=train)
            lengths = None if lengths is None else block.output_lengths(lengths)
        return inputs

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """The number of valid outputs of each row, ``[B]``, for its number of valid inputs, ``lengths [B]``."""
        return functools.reduce(lambda lengths, block: block.output_lengths(lengths), self.blocks, lengths)


class _Block(nn.Module):
    """The module of one `ConvBlock`."""

    block: ConvBlock

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array | None, *, train: bool) -> jax.Array:
        block, maps, map_lengths = self.block, inputs, lengths
        for index, move in enumerate(block.window_moves()):
            if move.kind == "pool":
                move.geometry(maps.shape[1:-1], block.remainder)  # its errors name the block's settings
                pool = POOLS[block.pool_kind]
                maps = pool(maps, move.window, move.strides, remainder=block.remainder, lengths=map_lengths)
                continue
            maps = self._convolve(maps, map_lengths, move, index)
            if map_lengths is not None:
                map_lengths = sizes.output_lengths(map_lengths, *move[1:], block.remainder)
            maps = normalize(block.norm, maps, map_lengths, train=train, name=f"norm_{index}")
            if block.residual and index == block.convolutions - 1:
                maps = maps + self._shortcut(inputs, lengths, maps.shape)
            maps = nn.relu(maps)
        self.sow("intermediates", "maps", maps)
        return nn.Dropout(block.dropout, deterministic=not train)(maps)

    def _convolve(
        self, maps: jax.Array, lengths: jax.Array | None, move: WindowMove, index: int
    ) -> jax.Array:
        return Conv(
            self.block.features,
            move.window,
            move.strides,
            move.padding,
            move.dilation,
            self.block.groups,
            self.block.remainder,
            use_bias=self.block.norm is None,
            kernel_init=nn.initializers.he_normal(),
            name=f"conv_{index}",
        )(maps, lengths)

    def _shortcut(
        self, inputs: jax.Array, lengths: jax.Array | None, output_shape: tuple[int, ...]
    ) -> jax.Array:
        """The block's input in the shape of its output."""
        if inputs.shape == output_shape:
            return inputs if lengths is None else zero_padding(inputs, lengths)
        check_shortcut(self.block, inputs.shape[1:-1], output_shape[1:-1])
        window, strides = (1,) * (len(output_shape) - 2), self.block.strides
        project = Conv(
            output_shape[-1], window, strides, remainder="floor", use_bias=False, name="projection"
        )
        return project(inputs, lengths)
