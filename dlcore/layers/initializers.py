"""Initial values of recurrent weights: gate by gate, identity, forget bias."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import Initializer


def per_gate(init: Initializer, gates: int) -> Initializer:
    """Each gate's block on its own, side by side in the last dimension.

    So an orthogonal kernel is orthogonal in every gate, and fans are those of one gate. Drawn in float32 at least:
    the decompositions inside know no bfloat16. Drawn one after the other, also under ``jax.vmap``: on a CPU of few
    cores, two batched decompositions at the same time wait for each other's threads, and never end (JAX 0.10).

    >>> kernel = per_gate(jax.nn.initializers.orthogonal(), 4)(jax.random.key(0), (8, 32), jnp.bfloat16)
    >>> kernel.shape, kernel.dtype
    ((8, 32), dtype(bfloat16))
    """

    def blocks(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        block = (*shape[:-1], shape[-1] // gates)
        exact = jnp.promote_types(dtype, jnp.float32)
        draw = jax.custom_batching.sequential_vmap(lambda key: init(key, block, exact))
        drawn = jax.vmap(draw)(jax.random.split(key, gates))
        return jnp.moveaxis(drawn, 0, -2).reshape(shape).astype(dtype)

    return blocks


def identity(scale: float = 1.0) -> Initializer:
    """``scale`` times the identity (Le, Jaitly & Hinton 2015, arXiv 1504.00941; lecture: identity-RNN)."""

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        del key
        rows, columns = shape
        return scale * jnp.eye(rows, columns, dtype=dtype)

    return init


def with_gate(init: Initializer, gates: int, gate: int, value: float) -> Initializer:
    """A bias whose one gate starts at ``value``, and the others as ``init`` says."""

    def bias(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        width = shape[-1] // gates
        return per_gate(init, gates)(key, shape, dtype).at[gate * width : (gate + 1) * width].set(value)

    return bias
