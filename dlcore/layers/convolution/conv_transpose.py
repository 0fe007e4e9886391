"""The transposed convolutional layer, which makes maps larger: decoders, generators, segmentation."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.convolution.conv import window_of
from dlcore.layers.fields import check_fields, parameter
from dlcore.ops.arrays import add_bias, check_floats
from dlcore.ops.dimensions import Padding, per_dimension
from dlcore.ops.lengths import check_lengths, zero_padding
from dlcore.ops.transposed_convolution import (
    check_transposed_shapes,
    correlate_transposed,
    resolve_cuts,
    transposed_lengths,
)
from dlcore.utils.checks import check_integer


class ConvTranspose(nn.Module):
    """A transposed convolution: the transpose of `Conv`, with a bias (Dumoulin & Visin 2016, arXiv 1603.07285)

        O_k[n] = b_k + sum_{d, m, i} F_d[i, k] X[m, d]    over all m, i with  m S + i D - P = n

    A `Conv` with the same settings, ``remainder="floor"`` and D1 features maps outputs of this layer to inputs of this
    layer. With the same ``kernel [*kernel_size, K / groups, D1]`` and without biases, ``<conv(x), y> =
    <x, transposed(y)>``. torch's ``ConvTranspose1d`` to ``3d`` have the same kernel as ``[D1, K / groups,
    *kernel_size]``, flax's ``ConvTranspose(transpose_kernel=True)`` has it as it is here.

    Attributes:
        features: K, the depth of the output.
        kernel_size: F, one entry for each spatial dimension; an integer means a square filter over images.
        strides: S, as in `ops.transposed_convolution.correlate_transposed`.
        padding: P, as in `ops.transposed_convolution.correlate_transposed`.
        dilation: D, as in `ops.transposed_convolution.correlate_transposed`.
        groups: as in `ops.transposed_convolution.correlate_transposed`.
        output_padding: as in `ops.transposed_convolution.correlate_transposed`.
        use_bias: True if each feature adds a bias.
        kernel_init: initializer of the filters of one group, ``[*kernel_size, K / groups, D1 / groups]``.
        bias_init: initializer of the biases.
        dtype: dtype of the computation; None promotes inputs and parameters, as in flax.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: a setting is out of its bounds or unknown, or groups does not divide features.
        TypeError: a setting has another type.

    >>> layer = ConvTranspose(features=2, kernel_size=3, strides=2, padding="SAME")
    >>> maps, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((1, 6, 6, 4)))
    >>> maps.shape, variables["params"]["kernel"].shape
    ((1, 12, 12, 2), (3, 3, 2, 4))
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    output_padding: int | Sequence[int] = 0
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
    bias_init: Initializer = nn.initializers.zeros
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        self.features = check_integer("features", self.features)
        self.groups = check_integer("groups", self.groups)
        if self.features % self.groups:
            raise ValueError(f"groups: got {self.groups}, expected a divisor of the {self.features} features")
        self._numbers()
        check_fields(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Applies the filters.

        Args:
            inputs: X, ``[B, *spatial, D1]``: sequences, images or volumes.
            lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Places
                after them are read as 0, and outputs after `output_lengths` are 0, so that each row has the outputs
                that it has without its padding. None means that all places are valid.

        Returns:
            O, ``[B, *outputs, K]``.

        Raises:
            ValueError: a shape, a size or a length does not fit.
            TypeError: the inputs are not real floating point numbers, or the lengths are not integers.
        """
        inputs = check_floats("inputs", inputs, rank=1, layout="[B, *spatial, channels]")
        kernel_shape = (*window_of(self.kernel_size), self.features // self.groups, inputs.shape[-1])
        check_transposed_shapes(inputs.shape, kernel_shape, self.groups)
        if lengths is not None:
            lengths = check_lengths(lengths, inputs.shape)
            inputs = zero_padding(inputs, lengths)
        kernel = parameter(self, "kernel", self._draw_groups, kernel_shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = parameter(self, "bias", self.bias_init, (self.features,), self.param_dtype)
        inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        outputs = correlate_transposed(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            output_padding=self.output_padding,
        )
        outputs = add_bias(outputs, bias)
        return outputs if lengths is None else zero_padding(outputs, self.output_lengths(lengths))

    def output_lengths(self, lengths: jax.Array) -> jax.Array:
        """The number of valid outputs of each row, ``[B]``, for its number of valid inputs, ``lengths [B]``."""
        window, strides, cuts, dilation = self._numbers()
        return transposed_lengths(lengths, window[0], strides[0], cuts[0], dilation[0])

    @nn.nowrap
    def _numbers(
        self,
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:
        """Window, strides, cuts and dilation, with one entry for each spatial dimension."""
        window = window_of(self.kernel_size)
        strides = per_dimension("strides", self.strides, len(window))
        dilation = per_dimension("dilation", self.dilation, len(window))
        return (
            window,
            strides,
            resolve_cuts(self.padding, window, strides, dilation, self.output_padding),
            dilation,
        )

    @nn.nowrap
    def _draw_groups(self, key: jax.Array, shape: tuple[int, ...], dtype: Dtype) -> jax.Array:
        """The initial kernel. Each group draws its own part, so that its fans are those of the group."""
        part = (*shape[:-1], shape[-1] // self.groups)
        keys = jax.random.split(key, self.groups)
        return jnp.concatenate([self.kernel_init(key, part, dtype) for key in keys], axis=-1)
