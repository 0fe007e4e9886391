"""Metrics as sums: a metric is a pytree whose leaves add up over batches, and ``value()`` reads it.

Adding is all that a training loop, an evaluation over padded batches, or a reduction over devices has
to know, and every example counts once however the batches were cut.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Metric(Protocol):
    """What a loss function may return: a pytree of sums that knows its value."""

    def value(self) -> jax.Array: ...


class Average(NamedTuple):
    """A weighted mean, ``total / weight``, of which batches are added leaf by leaf.

    Attributes:
        total: sum of weight × value, a scalar.
        weight: sum of the weights, a scalar; where it is 0 the value is 0.

    >>> first, second = Average.of(jnp.array([1.0, 3.0])), Average.of(jnp.array([8.0]))
    >>> float(jax.tree.map(jnp.add, first, second).value())
    4.0
    """

    total: jax.Array
    weight: jax.Array

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array | None = None) -> "Average":
        """The average of ``values [B, ...]`` where the mask holds; masked entries may be NaN.

        The mask is ``[B]``, of whole rows, or says more of them, up to the shape of the values.
        """
        values = jnp.asarray(values, jnp.float32)
        valid = jnp.ones(values.shape, bool) if mask is None else expand_mask(mask, values.shape)
        return cls(jnp.where(valid, values, 0).sum(), valid.sum().astype(jnp.float32))

    def value(self) -> jax.Array:
        # Operators alone, so that sums that were fetched to the host are read there, without the device.
        return self.total / (self.weight + (self.weight == 0))


def accuracy(logits: jax.Array, labels: jax.Array, mask: jax.Array | None = None) -> Average:
    """The share of labels ``[B, ...]`` at which the largest of the logits ``[B, ..., C]`` stands."""
    return Average.of(jnp.argmax(logits, axis=-1) == labels, mask)


def expand_mask(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A mask ``[B]``, or of more dimensions, for values of this shape ``[B, ...]``."""
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(shape) - mask.ndim)), shape)
