"""Checks that the metrics of an experiment are sums, as far as their traced shapes can show it.

That the leaves of a metric are sums, and not means or maxima, cannot be seen from shapes and types.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.training.metrics.values import Metric, read_value
from dlcore.utils.trees import named_leaves


def check_metric(name: str, metric: Any, train: bool) -> tuple[int, ...]:
    """Checks the leaves of a metric and its ``value()``, which is called on sums of 1 and of 0.

    Args:
        name: the name of the metric.
        metric: a pytree of ``jax.ShapeDtypeStruct``.
        train: True for a metric of training, whose sums keep their types; an evaluation sums in float64.

    Returns:
        The shape of the value.

    Raises:
        TypeError: a leaf cannot be a sum, or ``value()`` gives neither a number nor an array from such sums.
    """
    leaves = named_leaves(metric)
    if not leaves:
        raise TypeError(f"loss: got a metric {name} without arrays, expected a pytree of sums")
    for path, leaf in leaves.items():
        if not _adds_up(leaf.dtype):
            raise TypeError(
                f"loss: got a metric {name} with {leaf.dtype} (at {path}), expected sums: floats, or integers of at "
                "least 32 bits; values.sum() makes such a sum of booleans"
            )
    ones, zeros = (_value_shape(name, metric, train, fill) for fill in (1, 0))
    if ones != zeros:
        raise TypeError(
            f"loss: got a metric {name} whose value() has the shape {ones} for sums of 1 and {zeros} for sums of 0, "
            "expected one shape"
        )
    return ones


def _adds_up(dtype: Any) -> bool:
    integer = jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).bits >= 32
    return bool(integer or jnp.issubdtype(dtype, jnp.floating))


def _value_shape(name: str, metric: Any, train: bool, fill: int) -> tuple[int, ...]:
    """The shape of ``value()`` for sums that are all ``fill``, as NumPy arrays on the host."""
    sums: Metric = jax.tree.map(
        lambda leaf: np.full(leaf.shape, fill, leaf.dtype if train else np.float64), metric
    )
    try:
        with np.errstate(all="ignore"):
            return np.shape(read_value(sums))
    except Exception as error:  # it is the experiment's own code
        raise TypeError(
            f"loss: got a metric {name} whose value() cannot be read from sums of {fill} "
            f"({type(error).__name__}: {error}), expected a number or an array of numbers; sums of 0 come from rows "
            "that do not count"
        ) from None


def check_same_shapes(metrics: Mapping[str, Any], rows: int, doubled: Mapping[str, Any]) -> None:
    """Checks that the sums of a batch have the same shapes for twice as many rows.

    Args:
        metrics: the traced metrics of a batch.
        rows: its number of rows.
        doubled: the traced metrics of a batch of twice as many rows.

    Raises:
        TypeError: they have other shapes.
    """
    few, many = (
        {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in named_leaves(dict(tree)).items()}
        for tree in (metrics, doubled)
    )
    for path in (*few, *many):
        one, other = few.get(path, "nothing"), many.get(path, "nothing")
        if one != other:
            raise TypeError(
                f"loss: got a metric with {one} at {path} for {rows} rows and {other} for {2 * rows}, expected sums "
                "over the rows, such as values.sum(axis=0)"
            )
