"""Batch and layer normalization of padded batches, whose padding does not count."""

from typing import Literal, TypeAlias

import jax
from flax import linen as nn

from dlcore.ops.lengths import time_mask, zero_padding

Norm: TypeAlias = Literal["batch", "layer"]


def check_norm(norm: str | None) -> None:
    """Checks the name of a norm.

    Raises:
        ValueError: it is not None, "batch" or "layer".
    """
    if norm not in (None, "batch", "layer"):
        raise ValueError(f'norm: got {norm!r}, expected None, "batch" or "layer"')


def normalize(
    norm: Norm | None, inputs: jax.Array, lengths: jax.Array | None, *, train: bool = False, name: str
) -> jax.Array:
    """BatchNorm or LayerNorm of ``[*batch, T, ..., C]``, as a submodule of the module that calls this function.

    Means and variances are accumulated in float32 at least.

    Args:
        norm: "batch", "layer", or None, which returns the inputs.
        inputs: ``[*batch, T, ..., C]``.
        lengths: ``[*batch]`` integers, the number of valid places of each row; they are not checked. Batch statistics
            count valid places only. Outputs after them are 0, and the values there, NaN included, reach no output and
            no gradient. None means that all places are valid.
        train: True if "batch" takes the statistics of this batch and updates the running averages.
        name: name of the submodule.

    Returns:
        An array of the inputs' shape.
    """
    if norm is None:
        return inputs
    if lengths is not None:
        inputs = zero_padding(inputs, lengths)
    if norm == "layer":
        outputs = nn.LayerNorm(name=name)(inputs)
        return outputs if lengths is None else zero_padding(outputs, lengths)
    layer = nn.BatchNorm(use_running_average=not train, momentum=0.9, name=name)
    if lengths is None:
        return layer(inputs)
    mask = time_mask(inputs, lengths)
    mask = mask | ~mask.any()  # a batch without any valid place has the statistics of zeros, not NaN
    return zero_padding(layer(inputs, mask=mask), lengths)
