"""Correlation with long kernels through the Fourier transform: the same product with fewer operations."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from scipy.fft import next_fast_len

from dlcore.ops.arrays import at_least_float32
from dlcore.ops.direct_convolution import pad
from dlcore.ops.sizes import Geometry


def correlate_by_fft(inputs: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int) -> jax.Array:
    """`convolution.correlate_channels` as ``irfft(rfft(X) conj(rfft(F)))``, summed over input channels.

    The circular product has the length of the padded inputs. It wraps around only at outputs whose window does not
    lie within the inputs, and these are not used. Strides take every S-th of the dense outputs; dilation spreads the
    kernel. Arguments are not checked.

    The transform mixes all places of a row. Rounding errors are as large as those of the row's largest value
    everywhere: with weights of size 1 a spike of 1e8 changes all outputs of its row by tens, those before it included,
    also with "CAUSAL" padding. A NaN makes all outputs of its row NaN. Other rows of the batch are not touched.

    Args:
        inputs: X, ``[B, *spatial, D1]``.
        kernel: F, ``[*kernel_size, D1 / groups, K]``.
        geometry: window, strides, padding and dilation, see `sizes.Geometry`.
        groups: number of groups of channels.

    Returns:
        ``[B, *outputs, K]``, in the dtype of the inputs.
    """
    rank = len(geometry.window)
    padded = at_least_float32(pad(inputs, geometry, 0))  # there is no transform of half precision
    lengths = _transform_lengths(padded.shape[1:-1])
    spread = jnp.zeros((*_extents(geometry), *kernel.shape[-2:]), padded.dtype)
    spread = spread.at[tuple(slice(None, None, step) for step in geometry.dilation)].set(kernel)
    transformed = jnp.fft.rfftn(padded, lengths, axes=range(1, rank + 1))
    filters = jnp.conj(jnp.fft.rfftn(spread, lengths, axes=range(rank)))
    transformed = transformed.reshape(*transformed.shape[:-1], groups, -1)
    filters = filters.reshape(*filters.shape[:-1], groups, -1)
    product = jnp.einsum("b...gd,...dgk->b...gk", transformed, filters)
    dense = jnp.fft.irfftn(product.reshape(*product.shape[:-2], -1), lengths, axes=range(1, rank + 1))
    strided = (
        slice(0, (count - 1) * stride + 1, stride)
        for count, stride in zip(geometry.outputs, geometry.strides, strict=True)
    )
    return dense[:, *strided].astype(inputs.dtype)


def _extents(geometry: Geometry) -> list[int]:
    """The pixels that the dilated window spans in each dimension."""
    return [
        (cells - 1) * spread + 1 for cells, spread in zip(geometry.window, geometry.dilation, strict=True)
    ]


def _transform_lengths(sizes: Sequence[int]) -> list[int]:
    return [int(next_fast_len(size, real=True)) for size in sizes]
