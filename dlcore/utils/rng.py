"""Random keys and generators that are derived from seed, stream and step, and never carried.

The key of step ``n`` in stream ``s`` is ``fold_in(fold_in(key(seed), s), n)``. The seed and the step determine every
random number, so a resumed run needs no saved generator.
"""

import zlib

import jax
import numpy as np


def _stream_id(stream: str) -> np.uint32:
    """The number that stands for a stream's name, the same in every process."""
    return np.uint32(zlib.crc32(stream.encode()))


def stream_key(seed: int, stream: str, step: int | jax.Array = 0) -> jax.Array:
    """The JAX key, a scalar key array, of one step in one named stream; ``step`` may be traced.

    >>> draw = lambda: int(jax.random.randint(stream_key(0, "dropout", step=7), (), 0, 100))
    >>> draw() == draw()
    True
    """
    return jax.random.fold_in(named_key(jax.random.key(seed), stream), step)


def named_key(key: jax.Array, name: str) -> jax.Array:
    """A key that is derived from another key for one purpose, which has a name."""
    return jax.random.fold_in(key, _stream_id(name))


def stream_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """The NumPy generator of one step in one named stream, for work on the host.

    >>> draw = lambda: stream_generator(0, "order", step=3).permutation(4).tolist()
    >>> draw() == draw()
    True
    """
    return np.random.default_rng([seed, int(_stream_id(stream)), step])
