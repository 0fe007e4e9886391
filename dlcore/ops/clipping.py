"""Gradient clipping as the lecture writes it, over all of a float's range."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

Tree: TypeAlias = Any


def largest(gradient: Tree) -> jax.Array:
    """``m = max |g|`` over all leaves, a scalar; NaN where there is one, 0 of nothing."""
    maxima = [jnp.max(jnp.abs(leaf), initial=0) for leaf in map(_wide, jax.tree.leaves(gradient))]
    return jax.tree.reduce(jnp.maximum, maxima, jnp.zeros(()))


def norm(gradient: Tree) -> jax.Array:
    """``|g| = m |g / m|`` over all leaves: no square of 1e20 or of 1e-30 leaves float32; NaN of what is not finite.

    >>> float(norm({"kernel": jnp.full(4, 1e20)})) == float(jnp.float32(2e20))
    True
    """
    unit, _, size = _split(gradient)
    return unit * size


def clip(gradient: Tree, threshold: float) -> Tree:
    """``if |g| > threshold: g <- threshold * g / |g|`` (lecture: gradient clipping; Pascanu et al. 2013).

    A gradient of float32 with entries of 1e20 comes out with the threshold as its norm, where the square of the norm,
    infinite, would have made it 0. What is not finite stays so.

    >>> clip(jnp.array([3e20, 4e20]), 1.0).round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    unit, direction, size = _split(gradient)
    exceeds = unit * size > threshold

    def clipped(leaf: jax.Array, part: jax.Array) -> jax.Array:
        return jnp.where(exceeds, (part * (threshold / size)).astype(leaf.dtype), leaf)

    return jax.tree.map(clipped, gradient, direction)


def _split(gradient: Tree) -> tuple[jax.Array, Tree, jax.Array]:
    """``g`` as ``unit * direction``, with the norm of the direction, whose largest entry is 1."""
    most = largest(gradient)
    unit = jnp.maximum(most, jnp.finfo(most.dtype).tiny)  # of a denormal number there is no quotient
    direction = jax.tree.map(lambda leaf: _wide(leaf) / unit, gradient)
    squares = [jnp.sum(jnp.abs(part) ** 2) for part in jax.tree.leaves(direction)]
    return unit, direction, jnp.sqrt(sum(squares, start=jnp.zeros(())))


def _wide(leaf: jax.Array) -> jax.Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
