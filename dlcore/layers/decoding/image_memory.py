"""The memory of an image for a decoder with attention: the cells of a feature map, each with its place."""

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import check_floats


def image_memory(maps: jax.Array) -> jax.Array:
    """The cells of feature maps as the steps of a memory, row by row: ``[*batch, H, W, K] -> [*batch, H * W, K + 2]``.

    The last two features of a cell are its row and its column, each from -1 to 1 (0 if there is one only), since a cell
    of a convolution does not know its place (Liu et al. 2018, arXiv 1807.03247).

    Args:
        maps: ``[*batch, H, W, K]``.

    Raises:
        ValueError: the maps have fewer than 3 dimensions.
        TypeError: they are not real floating point numbers.

    >>> image_memory(jnp.ones((1, 2, 3, 1)))[0, 2].tolist()
    [1.0, -1.0, 1.0]
    """
    maps = check_floats("maps", maps, 3, "[*batch, H, W, K]")
    *batch, height, width, _ = maps.shape
    axes = jnp.meshgrid(_places(height, maps.dtype), _places(width, maps.dtype), indexing="ij")
    places = jnp.broadcast_to(jnp.stack(axes, axis=-1), (*batch, height, width, 2))
    cells = jnp.concatenate([maps, places], axis=-1)
    return cells.reshape(*batch, height * width, cells.shape[-1])


def _places(count: int, dtype: jnp.dtype) -> jax.Array:
    return jnp.linspace(-1, 1, count, dtype=dtype) if count > 1 else jnp.zeros(count, dtype)
