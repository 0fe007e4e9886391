"""Recurrent cells over images: the products of a gated cell become convolutions.

The state is a stack of feature maps of the inputs' size, and every gate sees a window of it.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import jax
from flax import linen as nn

from dlcore.layers.convolution.conv import window_of
from dlcore.layers.recurrent.cell import ALL_GATES, Cell, Weights
from dlcore.layers.recurrent.gates import GRUGates, LSTMGates
from dlcore.ops.convolution import correlate_channels


class ConvCell(Cell):
    """What convolutional cells share: every product is a convolution.

    The inputs of a step are ``[..., *spatial, C]``, the state and the output ``[..., *spatial, K]``.

    Attributes:
        features: K, the number of feature maps of the state and of the output.
        kernel_size: one entry for each spatial dimension; an integer means a square filter over images.
    """

    kernel_size: int | Sequence[int]

    layout: ClassVar[str] = "[..., *spatial, channels]; give kernel_size one entry a spatial dimension"

    def __post_init__(self) -> None:
        window_of(self.kernel_size)
        super().__post_init__()

    @property
    def window(self) -> tuple[int, ...]:
        return window_of(self.kernel_size)

    @nn.nowrap
    def _product(self, weights: Weights, side: str, values: jax.Array, gates: slice = ALL_GATES) -> jax.Array:
        return correlate_same(values, weights[f"{side}_kernel"][..., gates])


class ConvLSTMCell(LSTMGates, ConvCell):
    """The convolutional LSTM (Shi et al. 2015, arXiv 1506.04214), without its peepholes

        i, f, o = sigma(x_t * W + h_{t-1} * U + b),    g = tanh(x_t * W + h_{t-1} * U + b)
        c_t = f c_{t-1} + i g,    h_t = o tanh(c_t)

    where ``*`` is `correlate_channels` with "SAME" padding over any number of spatial dimensions, and the other
    products are pixel by pixel. ``x_t [..., *spatial, C] -> h_t [..., *spatial, K]``. The parameters are
    ``input_kernel [*kernel_size, C, 4K]``, ``recurrent_kernel [*kernel_size, K, 4K]`` and ``bias [4K]``, with the
    gates in the order i, f, o, g. The carry is ``(c, h)``.

    Attributes:
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).

    Raises:
        ValueError: features or an entry of kernel_size is below 1, or kernel_size is empty; or as in `Cell`.
        TypeError: features or an entry of kernel_size is not an integer.

    >>> from dlcore.layers.recurrent.layer import Recurrent
    >>> films = jax.numpy.ones((2, 5, 8, 8, 3))
    >>> layer = Recurrent(ConvLSTMCell(4, 3))
    >>> (carry, outputs), _ = jax.jit(layer.init_with_output)(jax.random.key(0), films)
    >>> outputs.shape, jax.tree.map(jax.numpy.shape, carry)
    ((2, 5, 8, 8, 4), ((2, 8, 8, 4), (2, 8, 8, 4)))
    """


class ConvGRUCell(GRUGates, ConvCell):
    """The convolutional GRU (Ballas et al. 2016, arXiv 1511.06432)

        z = sigma(x_t * W_z + h_{t-1} * U_z + b_z),    r = sigma(x_t * W_r + h_{t-1} * U_r + b_r)
        g = tanh(x_t * W_g + (r h_{t-1}) * U_g + b_g),    h_t = z h_{t-1} + (1 - z) g

    Shapes, the meaning of ``*``, parameters and errors are those of `ConvLSTMCell`, with the gates in the order
    z, r, g.

    >>> cell = ConvGRUCell(features=4, kernel_size=(3,))
    >>> carry, inputs = jax.numpy.zeros((2, 8, 4)), jax.numpy.ones((2, 8, 1))
    >>> variables = jax.eval_shape(cell.init, jax.random.key(0), carry, inputs)
    >>> {name: leaf.shape for name, leaf in variables["params"].items()}
    {'bias': (12,), 'input_kernel': (3, 1, 12), 'recurrent_kernel': (3, 4, 12)}
    """


def correlate_same(values: jax.Array, kernel: jax.Array) -> jax.Array:
    """`correlate_channels` with "SAME" padding, for any batch dimensions: ``[..., *spatial, K]``.

    Args:
        values: ``[..., *spatial, C]``.
        kernel: ``[*kernel_size, C, K]``; it says how many dimensions are spatial.
    """
    axes = kernel.ndim - 1
    batch, image = values.shape[:-axes], values.shape[-axes:]
    maps = correlate_channels(values.reshape(math.prod(batch), *image), kernel, padding="SAME")
    return maps.reshape(*batch, *maps.shape[1:])
