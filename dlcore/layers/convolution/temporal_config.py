"""The settings of a causal convolution stack: the same flags wherever it stands beside recurrent cells."""

from dataclasses import dataclass

from dlcore.config.settings import Settings, check, setting
from dlcore.layers.convolution.block import temporal_blocks
from dlcore.layers.convolution.stack import ConvStack


@dataclass
class TemporalConfig(Settings):
    """The settings of a temporal convolutional network, see `temporal_blocks`.

    An experiment's Config has one as a field, and its model makes the stack:
    ``outputs = config.convolution.make_stack(config.features)(inputs, lengths, train=train)``. An output has seen no
    later step, so the last one may stand for the sequence, as the last state of a recurrent layer does.

    >>> TemporalConfig(levels=3).make_stack(features=8).blocks[-1].dilation
    4
    """

    levels: int = setting(4, "Number of blocks; the dilation doubles from block to block.", minimum=1)
    kernel_size: int = setting(3, "Number of steps in the window of a convolution.", minimum=1)

    def make_stack(self, features: int, dropout: float = 0.0) -> ConvStack:
        """The stack that the settings describe, ``[B, T, F] -> [B, T, features]``.

        Args:
            features: K of every block.
            dropout: the share of activations that training sets to 0 after each block, in [0, 1).

        Raises:
            ValueError: a setting has another type or is out of its bounds, or an argument is out of its bounds.
            TypeError: an argument has another type.
        """
        check(self)
        return ConvStack(temporal_blocks(features, self.levels, self.kernel_size, dropout))
