"""Correlation that is computed without the Fourier transform.

XLA's own convolution is slow on a CPU for grouped, depthwise and single-channel inputs. These are computed here in
faster ways that give the same product and gradients.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dlcore.ops.arrays import at_least_float32
from dlcore.ops.sizes import Geometry

# XLA handles larger windows: with more slices than this the sum is no faster, and it compiles slowly.
MAX_SLICES = 32


def correlate_direct(inputs: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int) -> jax.Array:
    """`convolution.correlate_channels`, computed without a Fourier transform.

    XLA computes the product. A program for a CPU computes a faster sum over taps or groups where there is one. JAX
    chooses when it lowers the program, since only then the platform is known. Arguments are not checked.

    Args:
        inputs: ``[B, *spatial, D1]``.
        kernel: ``[*kernel_size, D1 / groups, K]``.
        geometry: window, strides, padding and dilation, see `sizes.Geometry`.
        groups: number of groups of channels.

    Returns:
        ``[B, *outputs, K]``.
    """
    product = functools.partial(_correlate, geometry=geometry, groups=groups)
    if groups == 1 and not _has_one_filter(kernel.shape) and not has_few_weights(kernel.shape):
        return product(inputs, kernel)
    on_cpu = functools.partial(correlate_on_cpu, geometry=geometry, groups=groups)
    return lax.platform_dependent(inputs, kernel, cpu=on_cpu, default=product)


# Compiled by itself, so that layers of the same shapes are traced once.
@functools.partial(jax.jit, static_argnames=("geometry", "groups"))
def correlate_on_cpu(inputs: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int) -> jax.Array:
    """`correlate_direct` in the way that is fastest on a CPU, with the same arguments and result."""
    if _has_one_filter(kernel.shape, groups):
        return _correlate_taps(inputs, kernel, geometry)
    if groups == 1:
        return _correlate_group(inputs, kernel, geometry)
    # XLA's own grouped convolution took 30 times as long for 4 groups of 8 channels.
    parts = zip(jnp.split(inputs, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([_correlate_group(*part, geometry) for part in parts], axis=-1)


def _correlate_group(inputs: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The product of one group, in the way that is fastest on a CPU."""
    product = _correlate_one_channel if has_few_weights(kernel.shape) else _correlate
    return product(inputs, kernel, geometry)


def _has_one_filter(kernel_shape: Sequence[int], groups: int = 1) -> bool:
    """True if each group has one channel and one filter, of at most `MAX_SLICES` weights."""
    *window, depth, features = kernel_shape
    return depth == 1 and features == groups and math.prod(window) <= MAX_SLICES


def has_few_weights(kernel_shape: Sequence[int]) -> bool:
    """True if a kernel ``[*kernel_size, depth, K]`` has depth 1 and at most K / 3 and `MAX_SLICES` weights per filter.

    The first layer over a waveform or a gray image often has such filters. For them the sum over taps was 1.1 to 6
    times faster than XLA's convolution on a CPU, and the kernel's gradient as a product of patches 1.5 to 5 times. With
    more weights than K / 3 both were slower.
    """
    *window, depth, features = kernel_shape
    taps = math.prod(window)
    return depth == 1 and taps <= min(features // 3, MAX_SLICES)


def _correlate(inputs: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int = 1) -> jax.Array:
    """The product as XLA computes it."""
    return lax.conv_general_dilated(
        inputs,
        kernel,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=dimension_numbers(len(geometry.window)),
        feature_group_count=groups,
    )


def dimension_numbers(rank: int) -> lax.ConvDimensionNumbers:
    """XLA's name of the layout ``[B, *spatial, C]`` with kernels ``[*kernel_size, D1, K]``, in ``rank`` dimensions."""
    spatial = tuple(range(1, rank + 1))
    return lax.ConvDimensionNumbers(
        lhs_spec=(0, rank + 1, *spatial),
        rhs_spec=(rank + 1, rank, *range(rank)),
        out_spec=(0, rank + 1, *spatial),
    )


def _correlate_taps(inputs: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The product as a sum over the taps, for depthwise kernels or one channel.

    XLA fuses the sum, in float32 at least, into one pass over the outputs.
    """
    cells = window_cells(at_least_float32(pad(inputs, geometry, 0)), geometry)
    taps = at_least_float32(kernel).reshape(len(cells), kernel.shape[-1])
    total = functools.reduce(jnp.add, (cell * tap for cell, tap in zip(cells, taps, strict=True)))
    return total.astype(inputs.dtype)


_correlate_one_channel = jax.custom_jvp(_correlate_taps, nondiff_argnums=(2,))


def _correlate_one_channel_jvp(
    geometry: Geometry, primals: tuple[jax.Array, jax.Array], tangents: tuple[Any, Any]
) -> tuple[jax.Array, Any]:
    """The product is linear in each argument. The kernel's part is written so that its transpose is fast."""
    (inputs, kernel), (inputs_dot, kernel_dot) = primals, tangents
    outputs = _correlate_one_channel(inputs, kernel, geometry)
    changes = []
    if not isinstance(inputs_dot, SymbolicZero):
        changes.append(_correlate(inputs_dot, kernel, geometry))
    if not isinstance(kernel_dot, SymbolicZero):
        changes.append(_correlate_patches(inputs, kernel_dot, geometry).reshape(outputs.shape))
    return outputs, functools.reduce(jnp.add, changes) if changes else jnp.zeros_like(outputs)


_correlate_one_channel.defjvp(_correlate_one_channel_jvp, symbolic_zeros=True)


def _correlate_patches(inputs: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The product as one of matrices, ``[B, outputs, K]``.

    Each row of the batch gets its own copy of the kernel. The gradient is then a batched product of the patches with
    the outputs' gradient, which XLA computes without a transposed copy of the latter (measured: 5 ms instead of 41).
    """
    patches = jnp.stack(window_cells(pad(inputs, geometry, 0), geometry), axis=1)
    patches = patches.reshape(*patches.shape[:2], -1)  # [B, F * ..., outputs]
    kernels = jnp.broadcast_to(
        kernel.reshape(-1, kernel.shape[-1]), (len(inputs), patches.shape[1], kernel.shape[-1])
    )
    return jnp.einsum("bfn,bfk->bnk", patches, kernels)


def pad(inputs: jax.Array, geometry: Geometry, value: float) -> jax.Array:
    """Inputs ``[B, *spatial, C]`` with ``value`` in all cells of the geometry's padding: ``[B, *padded, C]``."""
    if not any(map(any, geometry.padding)):
        return inputs
    return jnp.pad(inputs, ((0, 0), *geometry.padding, (0, 0)), constant_values=value)


def window_cells(padded: jax.Array, geometry: Geometry) -> list[jax.Array]:
    """For each cell of the window, in reading order, the pixels on which it lies in all applications of the window.

    Args:
        padded: the result of `pad`, ``[B, *padded, C]``.
        geometry: the geometry of the windows.

    Returns:
        A list with one strided slice ``[B, *outputs, C]`` for each cell.
    """
    return [
        padded[
            :,
            *(
                slice(place * dilation, place * dilation + stride * (outputs - 1) + 1, stride)
                for place, dilation, stride, outputs in zip(
                    cell, geometry.dilation, geometry.strides, geometry.outputs, strict=True
                )
            ),
        ]
        for cell in itertools.product(*map(range, geometry.window))
    ]
