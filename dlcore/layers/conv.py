"""Convolutional layers and stacks of them (lecture: conv -> ReLU -> pool, repeated, -> flatten)."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.ops import convolution, pooling


class Conv(nn.Module):
    """A convolutional layer: K filters that extend the full depth of their input.

    ``O_k[m] = b_k + sum_{d, i} F_k[i, d] X[m S + i, d]``, with F * F * D1 * K weights and K biases in two
    dimensions. The number of entries of ``kernel_size`` says how many spatial dimensions there are.

    Attributes:
        features: K, the number of filters and the depth of the output.
        kernel_size: F, one entry a spatial dimension; an integer means a square filter over images.
        strides, padding, dilation, groups, remainder: as in `ops.convolution.correlate_channels`.
        use_bias: whether each filter adds a bias.
        kernel_init, bias_init, dtype, param_dtype: as in flax.

    >>> import jax.numpy as jnp
    >>> layer = Conv(features=2, kernel_size=3)
    >>> maps, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 6, 6, 1)))
    >>> maps.shape, sum(leaf.size for leaf in jax.tree.leaves(variables))
    ((1, 4, 4, 2), 20)
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: convolution.Padding = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    remainder: convolution.Remainder = "error"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros
    dtype: Dtype | None = None
    param_dtype: Dtype = jax.numpy.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """``[B, *spatial, D1]`` -> ``[B, *spatial / S, K]``; ValueError where the sizes do not fit."""
        window = (self.kernel_size,) * 2 if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        convolution.per_dimension("kernel_size", window, len(window))
        convolution.per_dimension("features", self.features, 1)
        shape = (*window, inputs.shape[-1] // max(self.groups, 1), self.features)
        convolution.check_shapes(inputs.shape, shape, self.groups)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = (
            self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        )
        inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        outputs = convolution.correlate_channels(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            remainder=self.remainder,
        )
        return outputs if bias is None else outputs + bias


@dataclasses.dataclass(frozen=True)
class ConvBlock:
    """One block of a `ConvStack`: conv -> norm -> ReLU -> max-pool -> dropout.

    Attributes:
        features: K, the number of filters.
        kernel_size, strides, padding: of the convolution; "SAME" leaves the shrinking to the pool.
        norm: None or "batch" (BatchNorm over batch and space, in place of the bias).
        pool: window and stride of the max-pool; None has no pool.
        dropout: the share of activations set to 0 in training, in [0, 1).
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    padding: convolution.Padding = "SAME"
    norm: Literal["batch"] | None = None
    pool: int | Sequence[int] | None = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: got {self.dropout}, expected a share in [0, 1)")
        if self.norm not in (None, "batch"):
            raise ValueError(f'norm: got "{self.norm}", expected None or "batch"')


class ConvStack(nn.Module):
    """The lecture's feature extractor: conv -> ReLU -> pool, repeated.

    >>> import jax.numpy as jnp
    >>> stack = ConvStack([ConvBlock(16), ConvBlock(32, norm="batch", dropout=0.2)])
    >>> stack.init_with_output(jax.random.key(0), jnp.ones((4, 8, 8, 1)), train=False)[0].shape
    (4, 2, 2, 32)
    """

    blocks: Sequence[ConvBlock]

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """``[B, *spatial, C]`` -> ``[B, *smaller, features of the last block]``.

        With ``train`` BatchNorm uses (and updates, in ``batch_stats``) the batch's statistics, and dropout
        draws from the rng stream ``dropout``.
        """
        for number, block in enumerate(self.blocks):
            inputs = Conv(
                block.features,
                block.kernel_size,
                block.strides,
                block.padding,
                use_bias=block.norm is None,
                kernel_init=nn.initializers.he_normal(),
                name=f"conv_{number}",
            )(inputs)
            if block.norm == "batch":
                inputs = nn.BatchNorm(use_running_average=not train, momentum=0.9)(inputs)
            inputs = nn.relu(inputs)
            if block.pool is not None:
                inputs = pooling.max_pool(inputs, block.pool)
            # What leaves a block is what the figures show of it.
            self.sow("intermediates", f"block_{number}", inputs)
            inputs = nn.Dropout(block.dropout, deterministic=not train)(inputs)
        return inputs


def flatten(maps: jax.Array) -> jax.Array:
    """Each example's feature maps as one vector: ``[B, ...]`` -> ``[B, product]`` (lecture: flatten).

    >>> flatten(jax.numpy.ones((4, 2, 2, 32))).shape
    (4, 128)
    """
    return maps.reshape(maps.shape[0], -1)
