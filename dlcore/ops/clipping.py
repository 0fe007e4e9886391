"""Gradient clipping as the lecture writes it, exact over the whole range of float32."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import at_least_float32, check_array
from dlcore.utils.checks import check_number

Tree: TypeAlias = Any


def largest(gradient: Tree) -> jax.Array:
    """A scalar array: ``m = max |g|`` over all entries of a tree of arrays, NaN if any entry is, 0 if there is none."""
    for leaf in jax.tree.leaves(gradient):
        check_array("gradient", leaf)
    maxima = [jnp.max(jnp.abs(at_least_float32(leaf)), initial=0) for leaf in jax.tree.leaves(gradient)]
    return jax.tree.reduce(jnp.maximum, maxima, jnp.zeros(()))


def norm(gradient: Tree) -> jax.Array:
    """A scalar array: the Euclidean norm ``|g|`` over all entries of a tree of arrays.

    It is computed as ``m |g / m|`` with `largest` m, so that the squares of 1e20 and 1e-30 stay within float32. The
    norm is NaN if an entry is not finite.

    >>> float(norm({"kernel": jnp.full(4, 1e20)})) == float(jnp.float32(2e20))
    True
    """
    unit, _, direction_norm = _split(gradient)
    return unit * direction_norm


def clip(gradient: Tree, threshold: float) -> Tree:
    """The gradient, rescaled to a norm of ``threshold`` if its norm is larger:

        if |g| > threshold: g <- threshold * g / |g|        (lecture: gradient clipping; Pascanu et al. 2013)

    A clipped float32 gradient with entries of 1e20 has the threshold as its norm. Without the scaling of `norm` its
    squared norm would be infinite and the clipped gradient 0. A gradient with an entry that is not finite is returned
    unchanged.

    Args:
        gradient: a tree of arrays; ``|g|`` is the norm over all of them together.
        threshold: the largest norm, above 0. A traced one is not checked.

    Returns:
        A tree of arrays with the same structure, shapes and dtypes.

    Raises:
        ValueError: the threshold is not above 0.
        TypeError: a leaf of the gradient is not an array of numbers, or the threshold is not a number.

    >>> clip(jnp.array([3e20, 4e20]), 1.0).round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    if not isinstance(threshold, jax.core.Tracer):
        check_number("threshold", threshold, "(0, inf]")
    unit, direction, direction_norm = _split(gradient)
    exceeds = unit * direction_norm > threshold

    def clipped(leaf: jax.Array, part: jax.Array) -> jax.Array:
        return jnp.where(exceeds, (part * (threshold / direction_norm)).astype(leaf.dtype), leaf)

    return jax.tree.map(clipped, gradient, direction)


def _split(gradient: Tree) -> tuple[jax.Array, Tree, jax.Array]:
    """``g`` as ``unit * direction``, and the norm of the direction, whose largest entry is 1."""
    maximum = largest(gradient)
    unit = jnp.maximum(maximum, jnp.finfo(maximum.dtype).tiny)  # dividing by a denormal number would overflow
    direction = jax.tree.map(lambda leaf: at_least_float32(leaf) / unit, gradient)
    squares = [jnp.sum(jnp.abs(part) ** 2) for part in jax.tree.leaves(direction)]
    return unit, direction, jnp.sqrt(sum(squares, start=jnp.zeros(())))
