"""A step's Jacobian ``J_t = d s_t / d s_{t-1}`` as a linear map of flat vectors, never as a matrix.

The state is the whole carry, all its arrays side by side: ``n`` numbers in each row, ``n = 2 H`` for an LSTM. The rows
of a batch do not influence each other, so one ``jax.jvp`` or ``jax.vjp`` of the step serves all rows.
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures import decompositions
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    check_recurrence,
    masked_step,
    step_count,
    trajectory,
)
from dlcore.ops.arrays import at_least_float32, check_key


def flatten_state(state: Tree) -> jax.Array:
    """Flattens a state, arrays ``[B, ...]``, to vectors ``[B, n]`` in float32 or wider.

    >>> flatten_state((jnp.zeros((2, 3)), jnp.zeros((2, 1, 4), jnp.bfloat16))).shape
    (2, 7)
    """
    leaves = [leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(state)]
    return at_least_float32(jnp.concatenate(leaves, axis=-1))


def unflatten_state(vectors: jax.Array, like: Tree) -> Tree:
    """Undoes `flatten_state`: returns a state with the structure, shapes and dtypes of ``like``.

    Args:
        vectors: ``[B, n]``, the numbers of the state.
        like: a state, arrays ``[B, ...]`` with n numbers in each row.
    """
    leaves, structure = jax.tree.flatten(like)
    ends = list(itertools.accumulate(math.prod(leaf.shape[1:]) for leaf in leaves))
    parts = jnp.split(vectors, ends[:-1], axis=-1)
    arrays = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def push_tangents(
    recurrence: Recurrence, state: Tree, inputs: Tree, tangents: jax.Array, valid: jax.Array | None = None
) -> tuple[Tree, jax.Array]:
    """Computes ``s_t`` and ``J_t Q``, forward in time.

    Args:
        recurrence: provides the step and the parameters.
        state: ``s_{t-1}``, arrays ``[B, ...]``.
        inputs: ``x_t``, arrays ``[B, ...]``.
        tangents: Q ``[B, n, k]``, k columns for each row of the batch.
        valid: booleans ``[B]``, True for the rows that take the step; None: all.

    Returns:
        A pair: ``s_t``, arrays ``[B, ...]``, and ``J_t Q [B, n, k]``. The latter is NaN in rows whose state is not
        finite before or after the step: a Jacobian means nothing there (that of a ReLU would be 0 without any sign of
        the error).
    """
    before, step = flatten_state(state), _flat_step(recurrence, state, inputs, valid)
    after, pushed = jax.vmap(
        lambda tangent: jax.jvp(step, [before], [tangent]), in_axes=-1, out_axes=(None, -1)
    )(tangents)
    return unflatten_state(after, state), _nan_unless_finite(pushed, before, after)


def pull_cotangents(recurrence: Recurrence, state: Tree, inputs: Tree, cotangents: jax.Array) -> jax.Array:
    """Computes ``P J_t``, backward in time.

    Args:
        recurrence: provides the step and the parameters.
        state: ``s_{t-1}``, arrays ``[B, ...]``.
        inputs: ``x_t``, arrays ``[B, ...]``.
        cotangents: P ``[B, k, n]``, k row vectors for each row of the batch.

    Returns:
        ``P J_t [B, k, n]``; NaN means the same as in `push_tangents`.
    """
    before = flatten_state(state)
    after, pull = jax.vjp(_flat_step(recurrence, state, inputs, None), before)
    pulled = jax.vmap(lambda cotangent: pull(cotangent)[0], in_axes=1, out_axes=1)(cotangents)
    return _nan_unless_finite(pulled, before, after)


def align_ends(recurrence: Recurrence) -> tuple[Tree, Tree]:
    """Shifts the states and inputs of shorter rows in time, so that all rows end at step T.

    So the state at lag ``l`` is entry ``T - l`` in all rows. The entries before a shorter row's first state repeat that
    state, and those before its first input repeat that input.

    Returns:
        A pair of trees: the states, arrays ``[T + 1, B, ...]``, and the inputs, arrays ``[T, B, ...]``.

    Raises:
        ValueError: as in `check_recurrence`.
        TypeError: as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    states, inputs = trajectory(recurrence), recurrence.inputs
    if recurrence.lengths is None:
        return states, inputs
    steps = step_count(recurrence)
    times = jnp.maximum(jnp.arange(steps + 1)[:, None] - (steps - recurrence.lengths), 0)
    return _take(states, times), _take(inputs, times[:-1])


def random_basis(recurrence: Recurrence, columns: int, key: jax.Array | None = None) -> jax.Array:
    """Draws random orthonormal columns, independently for each row of the batch.

    Args:
        recurrence: determines B, n (the numbers in one row's state) and the dtype, which is float32 or wider. It is
            one that `check_recurrence` returned.
        columns: the number of columns; if it is above n, n columns are drawn.
        key: random key; None: ``jax.random.key(0)``.

    Returns:
        An array ``[B, n, min(columns, n)]``.
    """
    like = flatten_state(recurrence.initial_state)
    key = jax.random.key(0) if key is None else check_key("key", key)
    shape = (*like.shape, min(columns, like.shape[1]))
    return decompositions.qr(jax.random.normal(key, shape, like.dtype))[0]


def _flat_step(
    recurrence: Recurrence, state: Tree, inputs: Tree, valid: jax.Array | None
) -> Callable[[jax.Array], jax.Array]:
    return lambda vectors: flatten_state(
        masked_step(recurrence, recurrence.params, unflatten_state(vectors, state), inputs, valid)
    )


def _nan_unless_finite(vectors: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    finite = jnp.isfinite(before).all(axis=-1) & jnp.isfinite(after).all(axis=-1)
    return jnp.where(finite[:, None, None], vectors, jnp.nan)


def _take(tree: Tree, times: jax.Array) -> Tree:
    """Returns ``array[times[t, b], b]`` for each array ``[T, B, ...]``."""
    rows = jnp.arange(times.shape[1])
    return jax.tree.map(lambda array: array[times, rows], tree)
