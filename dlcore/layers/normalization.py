"""Batch and layer normalization of padded batches, whose padding does not count."""

import functools
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.ops.lengths import time_mask, zero_padding

Norm: TypeAlias = Literal["batch", "layer"]


MOMENTUM = 0.9
"""The share of a running average that one batch keeps."""


def normalize(
    norm: Norm | None, inputs: jax.Array, lengths: jax.Array | None, *, train: bool = False, name: str
) -> jax.Array:
    """BatchNorm or LayerNorm of ``[*batch, T, ..., C]``, as a submodule of the module that calls this function.

    Means and variances are computed in float32 at least, a variance as the mean of (x - mean)^2: the difference of
    E[x^2] and E[x]^2 would lose all digits of data far from 0.

    Args:
        norm: "batch", "layer", or None, which returns the inputs.
        inputs: ``[*batch, T, ..., C]``.
        lengths: ``[*batch]`` integers, the number of valid places of each row; they are not checked. Batch statistics
            count valid places only. Outputs after them are 0, and the values there, NaN included, reach no output and
            no gradient. None means that all places are valid.
        train: True if "batch" takes the statistics of this batch and updates the running averages. A batch without
            any place has no statistics and updates nothing.
        name: name of the submodule.

    Returns:
        An array of the inputs' shape.
    """
    if norm is None:
        return inputs
    if lengths is not None:
        inputs = zero_padding(inputs, lengths)
    if norm == "layer":
        outputs = nn.LayerNorm(use_fast_variance=False, name=name)(inputs)
        return outputs if lengths is None else zero_padding(outputs, lengths)
    evaluates = not train or 0 in inputs.shape[:-1]
    layer = functools.partial(nn.BatchNorm, use_running_average=evaluates, use_fast_variance=False, name=name)
    if lengths is None:
        return layer(momentum=MOMENTUM)(inputs)
    mask = time_mask(inputs, lengths)
    # A batch without any valid place takes the statistics of zeros, not NaN, and adds none of them to the averages.
    momentum: Any = jnp.where(mask.any(), MOMENTUM, 1.0)
    return zero_padding(layer(momentum=momentum)(inputs, mask=mask | ~mask.any()), lengths)
