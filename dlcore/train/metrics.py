"""Metrics as sums: a metric is a pytree whose leaves are added over batches, and ``value()`` reads the sum.

A training loop, an evaluation over padded batches and a reduction over devices only have to add. Every example
counts once, however the batches were cut.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import expand_to_rank


class Metric(Protocol):
    """A metric that a loss function returns: a pytree of sums with a method that gives its value."""

    def value(self) -> jax.Array: ...


class Average(NamedTuple):
    """A weighted mean, ``total / weight``; batches are added leaf by leaf.

    Attributes:
        total: sum of weight × value, a scalar.
        weight: sum of the weights, a scalar; if it is 0, the value is 0.

    >>> first, second = Average.of(jnp.array([1.0, 3.0])), Average.of(jnp.array([8.0]))
    >>> float(jax.tree.map(jnp.add, first, second).value())
    4.0
    """

    total: jax.Array
    weight: jax.Array

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array | None = None) -> "Average":
        """The `Average` of the values for which the mask is True, each with the weight 1; its sums are float32.

        Args:
            values: ``[B, ...]``; values that do not count may be NaN.
            mask: a boolean array with the first dimensions of the values, from ``[B]`` up to their whole shape; None:
                all values count.
        """
        values = jnp.asarray(values, jnp.float32)
        valid = jnp.ones(values.shape, bool) if mask is None else expand_mask(mask, values.shape)
        return cls(jnp.where(valid, values, 0).sum(), valid.sum().astype(jnp.float32))

    def value(self) -> jax.Array:
        """The scalar ``total / weight``, and 0 if the weight is 0."""
        # Only operators: sums that were fetched as NumPy arrays are read on the host, without the device.
        return self.total / (self.weight + (self.weight == 0))


def accuracy(logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Average:
    """An `Average`: the fraction of the labels that are the index of the largest logit.

    Args:
        logits: ``[B, ..., C]``.
        labels: integers ``[B, ...]``.
        mask: as in `Average.of`; it is False for labels that do not count.
    """
    return Average.of(jnp.argmax(logits, axis=-1) == labels, mask)


def expand_mask(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The mask broadcast to the shape of some values.

    Args:
        mask: an array with the first dimensions of the values, from ``[B]`` up to their whole shape.
        shape: the shape ``[B, ...]`` of the values.

    Returns:
        An array of this shape.
    """
    return jnp.broadcast_to(expand_to_rank(mask, len(shape)), shape)
