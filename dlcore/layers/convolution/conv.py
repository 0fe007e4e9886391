"""The convolutional layer, over sequences, images or volumes (lecture: convolutional layers)."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.fields import check_fields, parameter
from dlcore.ops import convolution, sizes
from dlcore.ops.arrays import add_bias, check_array, check_floats
from dlcore.ops.dimensions import Padding, entries_of, per_dimension
from dlcore.ops.lengths import check_lengths, zero_padding
from dlcore.utils.checks import check_integer


class Conv(nn.Module):
    """A convolutional layer: K filters that extend the full depth of their input.

    ``O_k[m] = b_k + sum_{d, i} F_k[i, d] X[m S + i, d]``, with F * F * D1 * K weights and K biases in two
    dimensions. The number of entries of ``kernel_size`` is the number of spatial dimensions.

    Attributes:
        features: K, the number of filters and the depth of the output.
        kernel_size: F, one entry for each spatial dimension; an integer means a square filter over images.
        strides: S, as in `ops.convolution.correlate_channels`.
        padding: P, as in `ops.convolution.correlate_channels`.
        dilation: as in `ops.convolution.correlate_channels`.
        groups: as in `ops.convolution.correlate_channels`.
        remainder: as in `ops.convolution.correlate_channels`.
        method: ``"direct"``, or ``"fft"`` for long kernels, as in `ops.convolution.correlate_channels`. With ``"fft"``
            an output depends on the whole row, its future included.
        flip: True flips the filters, so that the layer computes the lecture's true convolution.
        use_bias: True if each filter adds a bias.
        kernel_init: initializer of the filters.
        bias_init: initializer of the biases.
        dtype: dtype of the computation; None promotes inputs and parameters, as in flax.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: a setting is too small or unknown.
        TypeError: a setting has another type.

    >>> layer = Conv(features=2, kernel_size=3)
    >>> maps, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 6, 6, 1)))
    >>> maps.shape, sum(leaf.size for leaf in jax.tree.leaves(variables))
    ((1, 4, 4, 2), 20)
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    remainder: sizes.Remainder = "error"
    method: convolution.Method = "direct"
    flip: bool = False
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        self.features = check_integer("features", self.features)
        self.groups = check_integer("groups", self.groups)
        window = window_of(self.kernel_size)
        sizes.check_window(window, self.strides, self.padding, self.dilation, self.remainder)
        check_fields(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Applies the filters.

        Args:
            inputs: X, ``[B, *spatial, D1]``: sequences, images or volumes.
            lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Places
                after them are read as 0, and outputs after `output_lengths` are 0, so that each row has the outputs
                that it has without its padding. "CIRCULAR", "REFLECT" and "EDGE" take values from before each row's own
                last place; a row that is too short for "REFLECT" is mirrored again and again, as in `numpy.pad`. None
                means that all places are valid.

        Returns:
            O, ``[B, *outputs, K]``.

        Raises:
            ValueError: a shape, a size or a length does not fit.
            TypeError: the inputs are not real floating point numbers, or a number or the lengths are not integers.
        """
        inputs = check_floats("inputs", inputs, rank=1, layout="[B, *spatial, channels]")
        window = window_of(self.kernel_size)
        kernel_shape = (*window, inputs.shape[-1] // self.groups, self.features)
        convolution.check_shapes(inputs.shape, kernel_shape, self.groups)
        if lengths is not None:
            lengths = check_lengths(lengths, inputs.shape)
            inputs = zero_padding(inputs, lengths)
        kernel = parameter(self, "kernel", self.kernel_init, kernel_shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = parameter(self, "bias", self.bias_init, (self.features,), self.param_dtype)
        inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        outputs = convolution.correlate_channels(
            inputs,
            jnp.flip(kernel, range(len(window))) if self.flip else kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            remainder=self.remainder,
            method=self.method,
            lengths=lengths,
        )
        outputs = add_bias(outputs, bias)
        return outputs if lengths is None else zero_padding(outputs, self.output_lengths(lengths))

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """The number of valid outputs of each row, ``[B]``, for its number of valid inputs, ``lengths [B]``."""
        return sizes.output_lengths(
            lengths, window_of(self.kernel_size), self.strides, self.padding, self.dilation, self.remainder
        )


def window_of(kernel_size: int | Sequence[int]) -> tuple[int, ...]:
    """A tuple of the window's size along each spatial dimension; an integer means a square window over images.

    Raises:
        ValueError: ``kernel_size`` is empty, or an entry is below 1.
        TypeError: an entry is not an integer.
    """
    entries = entries_of(kernel_size)
    if entries == ():
        raise ValueError(
            f"kernel_size: got {kernel_size}, expected one entry a spatial dimension, at least one"
        )
    return per_dimension("kernel_size", kernel_size, 2 if entries is None else len(entries))


def flatten(maps: jax.Array) -> jax.Array:
    """The feature maps of each example as one vector: ``[B, ...]`` -> ``[B, N]`` (lecture: flatten).

    Raises:
        ValueError: the maps have no dimension.
        TypeError: they are not an array.

    >>> flatten(jnp.ones((4, 2, 2, 32))).shape
    (4, 128)
    """
    check_array("maps", maps, rank=1, layout="[B, ...]")
    return jnp.asarray(maps).reshape(len(maps), math.prod(maps.shape[1:]))
