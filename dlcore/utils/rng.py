"""Randomness that is derived, never carried.

The key of step ``n`` in stream ``s`` is ``fold_in(fold_in(key(seed), s), n)``: whoever knows the seed
and the step knows every random number, so a resumed run needs no saved generator.
"""

import zlib

import jax
import numpy as np


def _number(stream: str) -> np.uint32:
    return np.uint32(zlib.crc32(stream.encode()))


def stream_key(seed: int, stream: str, step: int | jax.Array = 0) -> jax.Array:
    """The JAX key of one step in one named stream; ``step`` may be traced.

    >>> int(jax.random.randint(key(0, "dropout", 7), (), 0, 100)) == int(
    ...     jax.random.randint(key(0, "dropout", 7), (), 0, 100))
    True
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _number(stream)), step)


def stream_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """The NumPy generator of one step in one named stream, for work on the host.

    >>> generator(0, "order", 3).permutation(4).tolist() == generator(0, "order", 3).permutation(4).tolist()
    True
    """
    return np.random.default_rng([seed, int(_number(stream)), step])
