"""Initial values of recurrent weights: gate by gate, the identity, the forget bias, memories of many lengths."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import Initializer


def per_gate(init: Initializer, gates: int) -> Initializer:
    """An initializer of ``[..., G * H]`` that draws each gate's block ``[..., H]`` separately with ``init``.

    The blocks of the G = ``gates`` gates stand side by side in the last dimension. An orthogonal kernel is thus
    orthogonal in every gate, and a fan is the fan of one gate. Values are drawn in float32 at least, because the
    decompositions inside know no bfloat16. They are drawn one block after the other, also under ``jax.vmap``: on a CPU
    of few cores, two batched decompositions that run at the same time wait for each other's threads and never end
    (JAX 0.10).

    >>> kernel = per_gate(jax.nn.initializers.orthogonal(), 4)(jax.random.key(0), (8, 32), jnp.bfloat16)
    >>> kernel.shape, kernel.dtype
    ((8, 32), dtype(bfloat16))
    """

    def blocks(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        block = (*shape[:-1], shape[-1] // gates)
        wide = jnp.promote_types(dtype, jnp.float32)
        draw = jax.custom_batching.sequential_vmap(lambda key: init(key, block, wide))
        drawn = jax.vmap(draw)(jax.random.split(key, gates))
        return jnp.moveaxis(drawn, 0, -2).reshape(shape).astype(dtype)

    return blocks


def identity(scale: float = 1.0) -> Initializer:
    """An initializer of ``[rows, columns]``: ``scale`` times the identity matrix.

    Source: Le, Jaitly & Hinton 2015, arXiv 1504.00941; lecture: identity-RNN.
    """

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        del key
        rows, columns = shape
        return scale * jnp.eye(rows, columns, dtype=dtype)

    return init


def diagonal(init: Initializer) -> Initializer:
    """An initializer of ``[H]``: the diagonal of the ``[H, H]`` matrix that ``init`` would draw."""

    def vector(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        matrix = init(key, (*shape, *shape), jnp.promote_types(dtype, jnp.float32))
        return jnp.diagonal(matrix).astype(dtype)

    return vector


def with_gate(init: Initializer, gates: int, gate: int, value: float) -> Initializer:
    """An initializer of a bias ``[G * H]`` in which one gate starts at ``value``.

    Args:
        init: initializer of the other gates' biases, ``[H]`` each.
        gates: G, the number of gates.
        gate: index of the gate that starts at ``value``.
        value: its initial bias.
    """

    def bias(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        width = shape[-1] // gates
        return per_gate(init, gates)(key, shape, dtype).at[gate * width : (gate + 1) * width].set(value)

    return bias


def chrono(init: Initializer, gates: int, longest: int, keep: int, write: int | None = None) -> Initializer:
    """An initializer of a bias ``[G * H]`` that spreads the units' memories over 1 to ``longest`` steps:

        b_keep = log u with u uniform in [1, longest - 1),    b_write = -b_keep

    Source: Tallec & Ollivier 2018, arXiv 1804.11188. A gate ``sigma(log u) = 1 - 1 / (1 + u)`` keeps the state for
    about u steps.

    Args:
        init: initializer of the other gates' biases, ``[H]`` each.
        gates: G, the number of gates.
        longest: T_max, the longest dependency to be learned, 3 steps or more.
        keep: index of the gate that multiplies the old state.
        write: index of the gate that multiplies the new state; None if no such gate has its own bias.
    """

    def bias(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        gates_key, memory_key = jax.random.split(key)
        drawn = per_gate(init, gates)(gates_key, shape, dtype).reshape(gates, -1)
        memory = jax.random.uniform(memory_key, drawn[keep].shape, minval=1.0, maxval=longest - 1.0)
        drawn = drawn.at[keep].set(jnp.log(memory).astype(dtype))
        return (drawn if write is None else drawn.at[write].set(-drawn[keep])).reshape(shape)

    return bias
