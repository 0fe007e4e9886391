"""Weighted means as sums, and two readings of a mean cost: perplexity and bits."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops.arrays import to_real
from dlcore.training.metrics.places import mask_or_ones


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
    def of(cls, values: jax.Array, mask: jax.Array | None = None) -> Self:
        """The mean of the values that count; its sums are float64 if the values or the mask are, else float32.

        Args:
            values: ``[B, ...]``; values that do not count may be NaN.
            mask: booleans or weights, see `expand_mask`; None: all values count, with the weight 1.

        Raises:
            TypeError, ValueError: as in `expand_mask`; or the values are not an array of real numbers.

        >>> round(float(Average.of(jnp.array([1.0, 9.0]), jnp.array([0.5, 2.0])).value()), 3)
        7.4
        """
        values = to_real("values", values)
        weights = mask_or_ones(mask, values.shape)
        total = (jnp.where(weights != 0, values, 0) * weights).sum()
        return cls(total, weights.sum().astype(total.dtype))

    def value(self) -> Any:
        """The scalar ``total / weight``, and 0 if the weight is 0."""
        # Only operators: sums that were fetched as NumPy arrays are read on the host, without the device.
        return self.total / (self.weight + (self.weight == 0))


class Perplexity(Average):
    """The exponential of a mean cost in nats, ``exp(total / weight)``; 1 if the weight is 0.

    It has the sums of an `Average`, so ``Perplexity(*metrics["loss"])`` is that of a mean cross-entropy. It means the
    usual perplexity if the loss has neither label smoothing nor class weights.

    >>> round(float(Perplexity.of(jnp.log(jnp.array([2.0, 8.0]))).value()), 3)
    4.0
    """

    def value(self) -> np.float64:
        """The scalar ``exp(total / weight)``, computed on the host; infinite above 1.8e308."""
        with np.errstate(over="ignore"):
            return np.exp(np.float64(super().value()))


class BitsPerToken(Average):
    """A mean cost in nats as bits, ``total / weight / ln 2``; 0 if the weight is 0.

    It has the sums of an `Average`, so ``BitsPerToken(*metrics["loss"])`` is that of a mean cross-entropy. If the
    tokens are characters, it is the bits per character by which models of language are compared. The perplexity is 2 to
    its power.

    >>> round(float(BitsPerToken.of(jnp.log(jnp.array([2.0, 8.0]))).value()), 3)
    2.0
    """

    def value(self) -> np.float64:
        """The scalar ``total / weight / ln 2``, computed on the host."""
        return np.float64(super().value()) / np.log(2)
