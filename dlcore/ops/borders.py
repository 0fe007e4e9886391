"""Padding with values from inside: periodic signals, mirrored borders, repeated borders."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import expand_to_rank
from dlcore.ops.dimensions import Border
from dlcore.ops.lengths import check_lengths


class _Source(NamedTuple):
    """The name of a border in `jax.numpy.pad`, and ``places, N -> the place inside of N that is read there``."""

    mode: str
    place: Callable[[jax.Array, jax.Array], jax.Array]


def _mirrored(places: jax.Array, size: jax.Array) -> jax.Array:
    """The places that mirrors in the first and the last place show, again and again."""
    return size - 1 - jnp.abs(size - 1 - places % jnp.maximum(2 * (size - 1), 1))


_SOURCES: dict[Border, _Source] = {
    "CIRCULAR": _Source("wrap", lambda places, size: places % size),
    "REFLECT": _Source("reflect", _mirrored),
    "EDGE": _Source("edge", lambda places, size: jnp.clip(places, 0, size - 1)),
}


def pad_borders(
    inputs: jax.Array, padding: Sequence[tuple[int, int]], border: Border, lengths: jax.Array | None = None
) -> jax.Array:
    """Inputs with places around them that repeat values from inside.

    Args:
        inputs: ``[B, *spatial, C]``.
        padding: the number of places (before, after) for each spatial dimension.
        border: ``"CIRCULAR"`` continues at the other border, ``"REFLECT"`` mirrors at the first and last place, and
            ``"EDGE"`` repeats these places.
        lengths: ``[B]`` integers, the number of valid places of each row in the first spatial dimension. Each row
            continues after its own last place. A row of one place repeats it. None means that all places are valid.

    Returns:
        ``[B, *padded, C]``. What stands after a row's own padding is no value of that row's border.

    Raises:
        ValueError: the lengths do not fit.
        TypeError: the lengths are not an array of integers.

    >>> row = jnp.array([[[1.0], [2.0], [3.0], [0.0]]])
    >>> pad_borders(row, [(2, 1)], "REFLECT", jnp.array([3]))[0, :6, 0].tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    edges, source = list(padding), _SOURCES[border]
    if lengths is not None:
        before, after = edges[0]
        edges[0] = 0, 0
        sizes = jnp.maximum(check_lengths(lengths, inputs.shape), 1)[:, None]
        places = source.place(jnp.arange(-before, inputs.shape[1] + after), sizes)
        inputs = jnp.take_along_axis(inputs, expand_to_rank(places, inputs.ndim), axis=1)
    if not any(map(any, edges)):
        return inputs
    return jnp.pad(inputs, ((0, 0), *edges, (0, 0)), mode=source.mode)
