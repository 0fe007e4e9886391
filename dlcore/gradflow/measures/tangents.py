"""A step's Jacobian ``J_t = d s_t / d s_{t-1}`` as a linear map of flat vectors, never as a matrix.

The state is the full carry, all its arrays side by side: ``n`` numbers a row, of an LSTM ``n = 2 H``. Rows of a batch
do not see each other, so one ``jax.jvp`` or ``jax.vjp`` of the step serves all of them.
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures.recurrence import Recurrence, Tree, masked_step, step_count, trajectory


def flatten_state(state: Tree) -> jax.Array:
    """A state, arrays ``[B, ...]``, as vectors ``[B, n]`` in float32 at least.

    >>> flatten((jnp.zeros((2, 3)), jnp.zeros((2, 1, 4), jnp.bfloat16))).shape
    (2, 7)
    """
    leaves = [leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(state)]
    vectors = jnp.concatenate(leaves, axis=-1)
    return vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))


def unflatten_state(vectors: jax.Array, like: Tree) -> Tree:
    """`flatten` undone: ``[B, n]`` as a state of the shapes and dtypes of ``like``."""
    leaves, structure = jax.tree.flatten(like)
    ends = list(itertools.accumulate(math.prod(leaf.shape[1:]) for leaf in leaves))
    parts = jnp.split(vectors, ends[:-1], axis=-1)
    arrays = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def push_tangents(
    recurrence: Recurrence, state: Tree, inputs: Tree, tangents: jax.Array, own: jax.Array | None = None
) -> tuple[Tree, jax.Array]:
    """``s_t`` and ``J_t Q``, forward in time.

    Args:
        recurrence: its step and parameters count. state: ``s_{t-1}``, arrays ``[B, ...]``. inputs: ``x_t``.
        tangents: Q ``[B, n, k]``, k columns a row. own: ``[B]``, rows that take the step; None: all.

    Returns:
        ``s_t``, and ``[B, n, k]``; NaN in rows whose state before or after the step is not finite, as a Jacobian
        there says nothing (that of a ReLU would be a quiet 0).
    """
    before, step = flatten_state(state), _flat_step(recurrence, state, inputs, own)
    after, pushed = jax.vmap(
        lambda tangent: jax.jvp(step, [before], [tangent]), in_axes=-1, out_axes=(None, -1)
    )(tangents)
    return unflatten_state(after, state), _only_sound(pushed, before, after)


def pull_cotangents(recurrence: Recurrence, state: Tree, inputs: Tree, cotangents: jax.Array) -> jax.Array:
    """``P J_t``, backward in time, for k rows P ``[B, k, n]``; otherwise as `push`."""
    before = flatten_state(state)
    after, back = jax.vjp(_flat_step(recurrence, state, inputs, None), before)
    pulled = jax.vmap(lambda cotangent: back(cotangent)[0], in_axes=1, out_axes=1)(cotangents)
    return _only_sound(pulled, before, after)


def _flat_step(
    recurrence: Recurrence, state: Tree, inputs: Tree, own: jax.Array | None
) -> Callable[[jax.Array], jax.Array]:
    return lambda vectors: flatten_state(
        masked_step(recurrence, recurrence.params, unflatten_state(vectors, state), inputs, own)
    )


def _only_sound(vectors: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    sound = jnp.isfinite(before).all(axis=-1) & jnp.isfinite(after).all(axis=-1)
    return jnp.where(sound[:, None, None], vectors, jnp.nan)


def align_ends(recurrence: Recurrence) -> tuple[Tree, Tree]:
    """States ``[T + 1, B, ...]`` and inputs ``[T, B, ...]``, moved so that every row's own last step is the last one.

    So lag ``l`` is at place ``T - l`` in all rows. What stands before a shorter row's beginning is repeated from it.
    """
    states, inputs = trajectory(recurrence), recurrence.inputs
    if recurrence.lengths is None:
        return states, inputs
    steps = step_count(recurrence)
    places = jnp.arange(steps + 1)[:, None] - (steps - recurrence.lengths)
    places = jnp.maximum(places, 0)
    return _take(states, places), _take(inputs, places[:-1])


def _take(tree: Tree, places: jax.Array) -> Tree:
    """``array[places[t, b], b]`` of arrays ``[T, B, ...]``."""
    rows = jnp.arange(places.shape[1])
    return jax.tree.map(lambda array: array[places, rows], tree)
