"""Batch and layer normalization of padded batches, whose padding does not count."""

from typing import Literal, TypeAlias

import jax
from flax import linen as nn

from dlcore.ops.lengths import time_mask, zero_padding

Norm: TypeAlias = Literal["batch", "layer"]


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
    layer = nn.BatchNorm(use_running_average=evaluates, momentum=0.9, use_fast_variance=False, name=name)
    if lengths is None:
        return layer(inputs)
    mask = time_mask(inputs, lengths)
    mask = mask | ~mask.any()  # a batch without any valid place has the statistics of zeros, not NaN
    return zero_padding(layer(inputs, mask=mask), lengths)
