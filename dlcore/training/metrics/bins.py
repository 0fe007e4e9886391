"""Weights summed by place: what confusion matrices, counts of classes and histograms of scores have in common."""

import jax
import jax.numpy as jnp


def sum_by_place(places: tuple[jax.Array, ...], weights: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """An array in which each place has the sum of the weights that belong to it.

    Booleans are counted as integers, so that the counts of one batch are exact up to 2^31, before they become float32.
    A GPU adds floats in no fixed order, so that the last digits of weighted counts may differ between two runs; XLA's
    flag ``xla_gpu_deterministic_ops`` fixes the order.

    Args:
        places: for each axis of the result the indices, integers of the shape of the weights.
        weights: ``[B, ...]`` booleans or floats of at least 0.
        shape: the shape of the result.

    Returns:
        Floats of this shape; all are NaN if a place that counts is outside of the shape.

    >>> sum_by_place((jnp.array([0, 2, 2]),), jnp.array([True, True, True]), (3,)).tolist()
    [1.0, 0.0, 2.0]
    """
    inside = jnp.ones(weights.shape, bool)
    for place, size in zip(places, shape, strict=True):
        inside &= (place >= 0) & (place < size)
    addends = jnp.where(inside, weights, 0).astype(jnp.int32 if weights.dtype == bool else weights.dtype)
    sums = jnp.zeros(shape, addends.dtype).at[places].add(addends, mode="drop")
    lost = (~inside & (weights != 0)).any()
    return jnp.where(lost, jnp.nan, sums.astype(jnp.promote_types(sums.dtype, jnp.float32)))
