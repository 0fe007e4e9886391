"""Correlation with long kernels by way of the Fourier transform: the same product, fewer operations."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from scipy.fft import next_fast_len

from dlcore.ops.direct_convolution import pad
from dlcore.ops.sizes import Geometry


def correlate_by_fft(inputs: jax.Array, kernel: jax.Array, shape: Geometry, groups: int) -> jax.Array:
    """`convolution.correlate_channels` as ``irfft(rfft(X) conj(rfft(F)))``, summed over input channels.

    The circular product of the padded length wraps only into places that no whole window has, so nothing
    longer is needed. Strides take from the dense output, dilation spreads the kernel.

    Args:
        inputs: ``[B, *spatial, D1]``. kernel: ``[*kernel_size, D1 / groups, K]``.
        shape: where the kernel lies. groups: of channels.
    """
    rank = len(shape.window)
    precise = jnp.promote_types(inputs.dtype, jnp.float32)  # there is no transform of half precision
    padded = pad(inputs, shape, 0).astype(precise)
    lengths = _transform_lengths(padded.shape[1:-1])
    spread = jnp.zeros((*_extents(shape), *kernel.shape[-2:]), precise)
    spread = spread.at[tuple(slice(None, None, step) for step in shape.dilation)].set(kernel)
    seen = jnp.fft.rfftn(padded, lengths, axes=range(1, rank + 1))
    filters = jnp.conj(jnp.fft.rfftn(spread, lengths, axes=range(rank)))
    seen = seen.reshape(*seen.shape[:-1], groups, -1)
    filters = filters.reshape(*filters.shape[:-1], groups, -1)
    product = jnp.einsum("b...gd,...dgk->b...gk", seen, filters)
    dense = jnp.fft.irfftn(product.reshape(*product.shape[:-2], -1), lengths, axes=range(1, rank + 1))
    taken = (
        slice(0, (count - 1) * stride + 1, stride)
        for count, stride in zip(shape.outputs, shape.strides, strict=True)
    )
    return dense[:, *taken].astype(inputs.dtype)


def fft_is_cheaper(inputs: Sequence[int], kernel: Sequence[int], shape: Geometry) -> bool:
    """Whether the Fourier way is the cheaper one, by counted operations.

    An operation of a transform (N log2 N of them a channel) took as long as about 8 multiply-adds of the
    direct product on two CPU cores. It counts double: the way that rounds otherwise is to win clearly.
    """
    batch, depth, (group_depth, features) = inputs[0], inputs[-1], kernel[-2:]
    direct = batch * math.prod(shape.outputs) * math.prod(shape.window) * group_depth * features
    padded = [size + sum(pair) for size, pair in zip(inputs[1:-1], shape.padding, strict=True)]
    size = math.prod(_transform_lengths(padded))
    transforms = (batch * depth + group_depth * features + batch * features) * size * math.log2(size + 1)
    products = 2 * batch * size * group_depth * features
    return 16 * (transforms + products) < direct


def _extents(shape: Geometry) -> list[int]:
    return [(cells - 1) * spread + 1 for cells, spread in zip(shape.window, shape.dilation, strict=True)]


def _transform_lengths(sizes: Sequence[int]) -> list[int]:
    return [int(next_fast_len(size, real=True)) for size in sizes]
