"""Which values of a batch count, and how much: masks and weights."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.data.batch import check_fields
from dlcore.ops.arrays import expand_to_rank, to_array, to_real
from dlcore.ops.lengths import check_lengths, valid_steps
from dlcore.utils.checks import check_integer


def expand_mask(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The mask broadcast to the shape of some values.

    Args:
        mask: booleans, False for values that do not count; or weights of at least 0. Its shape is the first
            dimensions of the values, from ``[B]`` up to their whole shape. A weight below 0 that is traced, as under
            ``jax.jit``, becomes NaN. They are summed in float32: smaller ones than 1e-38 count as 0.
        shape: the shape ``[B, ...]`` of the values.

    Returns:
        An array of this shape: booleans, or floats of at least 32 bits.

    Raises:
        TypeError: the mask is not an array of real numbers or booleans, or the shape is not a tuple of integers.
        ValueError: the mask has another shape, or a weight is below 0, infinite or NaN.
    """
    mask, shape = to_array("mask", mask), _check_shape(shape)
    if mask.shape != shape[: mask.ndim] or bool(mask.ndim) != bool(shape):
        raise ValueError(
            f"mask: got shape {mask.shape} for values of shape {shape}, expected their first dimensions, "
            f"{shape[:1]} up to {shape}"
        )
    if mask.dtype != bool:
        mask = check_weights("mask", mask)
    return jnp.broadcast_to(expand_to_rank(mask, len(shape)), shape)


def mask_or_ones(mask: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """The mask broadcast to a shape, see `expand_mask`; True everywhere if it is None."""
    return jnp.ones(shape, bool) if mask is None else expand_mask(mask, shape)


def check_weights(name: str, weights: jax.Array) -> jax.Array:
    """Checks that weights are finite numbers of at least 0; one below 0 that is traced becomes NaN.

    Args:
        name: what the error message calls the weights.
        weights: an array of any shape.

    Returns:
        The weights as floats of at least 32 bits.

    Raises:
        TypeError: they are not an array of real numbers.
        ValueError: a weight is below 0, infinite or NaN.
    """
    weights = to_real(name, weights)
    if not isinstance(weights, jax.core.Tracer):
        wrong = weights[~((weights >= 0) & (weights < jnp.inf))]
        if wrong.size:
            raise ValueError(f"{name}: got {wrong[0]}, expected booleans or finite weights of at least 0")
    return jnp.where(weights < 0, jnp.nan, weights)


def _check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list):
        raise TypeError(f"shape: got {shape!r}, expected a tuple of integers, such as values.shape")
    return tuple(check_integer("shape", size, 0) for size in shape)


def place_weights(batch: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """How much each value counts that was computed from a batch: the mask for `Average.of`.

    The batch's ``mask`` and ``lengths`` combine. Both are optional, and None stands for a field that is missing.

    - ``mask``, ``[B]`` or any more of the shape: booleans or weights, see `expand_mask`.
    - ``lengths [B]`` leave out the steps of the second axis that come after the end of a row. A value for each row,
      shape ``[B]`` or ``[B, 1]``, has no steps. The second axis counts as time if it is as long as that of ``inputs``,
      and if the batch has no ``inputs``.

    If the second axis has another length, lengths cannot tell which of its places count. Then a mask ``[B, T, ...]``
    tells it alone, and without one the batch is refused. Values of a row that are no steps, though there are as many as
    steps, need a batch without lengths: ``{**batch, "lengths": None}``.

    Args:
        batch: the fields of the batch.
        shape: the shape ``[B, ...]`` of the values, for instance of labels.

    Returns:
        An array of this shape: booleans, or floats if the mask holds weights.

    Raises:
        TypeError, ValueError: as in `expand_mask` and `ops.lengths.check_lengths`; or the second axis is not time.

    >>> place_weights({"lengths": jnp.array([2, 0]), "mask": jnp.array([0.5, 1.0])}, (2, 3)).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    check_fields(batch)
    shape = _check_shape(shape)
    mask, lengths = batch.get("mask"), batch.get("lengths")
    weights = mask_or_ones(mask, shape)
    if lengths is None or not _has_steps(batch, shape):
        return weights
    lengths = check_lengths(to_array("lengths", lengths), shape)
    valid = expand_to_rank(valid_steps(lengths, shape[1]), len(shape))
    return jnp.where(valid, weights, jnp.zeros((), weights.dtype))


def _has_steps(batch: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    """True if the second axis of values of this shape is time, so that the batch's lengths count."""
    inputs, mask = batch.get("inputs"), batch.get("mask")
    read = None if inputs is None else to_array("inputs", inputs).shape
    if len(shape) > 1 and read is not None and read[1:2] == shape[1:2]:
        return True
    if shape[1:] in ((), (1,)) or (mask is not None and to_array("mask", mask).ndim > 1):
        return False
    if read is None:
        return True
    raise ValueError(
        f"lengths: got those of inputs {read} for values of shape {shape}, expected values with the same "
        'steps; if the second axis is not time, pass {**batch, "lengths": None} to the loss, else a mask [B, T] of the '
        "values that count"
    )
