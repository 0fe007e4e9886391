"""Where a forward pass left the numbers its dtype can hold."""

import jax
import jax.numpy as jnp

from dlcore.gradflow.recurrence import Tree
from dlcore.gradflow.tangents import flatten


def first_nonfinite(states: Tree) -> jax.Array:
    """The first t whose state ``s_t`` holds an infinity or a NaN, of each row; -1 where none does.

    A ReLU network overflows without an error; what is measured of gradients behind that step is NaN, not a number
    that looks like one.

    Args:
        states: arrays ``[T + 1, B, ...]`` as `trajectory` gives them, ``s_0`` first.

    Returns:
        ``[B]`` integers.

    >>> first_nonfinite((jnp.array([[1.0, 1.0], [jnp.inf, 2.0], [jnp.nan, 3.0]]),)).tolist()
    [1, -1]
    """
    broken = ~jax.vmap(lambda state: jnp.isfinite(flatten(state)).all(axis=-1))(states)
    return jnp.where(broken.any(axis=0), jnp.argmax(broken, axis=0), -1)
