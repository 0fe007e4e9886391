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
        """The average of the ``values`` for which the mask is True.

        Args:
            values: ``[B, ...]``; masked values may be NaN.
            mask: ``[B]``, or with more dimensions, up to the shape of the values; None: all values count.
        """
        values = jnp.asarray(values, jnp.float32)
        valid = jnp.ones(values.shape, bool) if mask is None else expand_mask(mask, values.shape)
        return cls(jnp.where(valid, values, 0).sum(), valid.sum().astype(jnp.float32))

    def value(self) -> jax.Array:
        """``total / weight``, and 0 if the weight is 0."""
        # Only operators: sums that were fetched as NumPy arrays are read on the host, without the device.
        return self.total / (self.weight + (self.weight == 0))


def accuracy(logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Average:
    """The fraction of the labels ``[B, ...]`` that are the index of the largest logit in ``[B, ..., C]``."""
    return Average.of(jnp.argmax(logits, axis=-1) == labels, mask)


def expand_mask(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The mask ``[B]``, or with more dimensions, broadcast over values of the given shape ``[B, ...]``."""
    return jnp.broadcast_to(expand_to_rank(mask, len(shape)), shape)
