"""What a metric is, and how its value becomes numbers for a table and nested lists for JSON."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

LONGEST_VECTOR = 64
"""The most entries of a vector that ``metrics.csv`` and TensorBoard show one by one."""


class Metric(Protocol):
    """A metric that a loss function returns: a pytree of sums with a method that gives its value.

    The leaves are real numbers that are added over rows, micro-batches, devices and steps. So they are sums over rows,
    and neither means nor maxima; their shapes do not depend on the number of rows. Training adds float32 with
    compensation, see `step.add_sums`: a sum is off by one rounding, however many steps it spans. Integers add
    exactly; those of int32 overflow at 2^31 within one row of the table. An evaluation adds everything in float64,
    which holds every integer up to 2^53.
    """

    def value(self) -> ArrayLike:
        """A number, or an array of any shape, computed from sums that are NumPy arrays on the host."""
        ...


def read_value(metric: Metric) -> Any:
    """The value of summed metrics as JSON knows it: a float, or nested lists of floats for an array.

    Raises:
        TypeError: the value is neither a real number nor an array of them.
    """
    array = np.asarray(metric.value())
    known = (jnp.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_))
    if not any(known):
        raise TypeError(
            f"value: got {array.dtype} of shape {array.shape}, expected a number or an array of numbers"
        )
    return array.astype(np.float64).tolist()


def to_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that a table of numbers holds: numbers, and vectors of up to `LONGEST_VECTOR` entries, one by one.

    Longer vectors and arrays of more axes, such as a confusion matrix, are left out.

    Args:
        values: by name, what `read_value` returns.

    >>> to_numbers({"loss": 0.5, "f1": [1.0, 0.0], "confusion": [[3.0, 0.0], [1.0, 2.0]]})
    {'loss': 0.5, 'f1/0': 1.0, 'f1/1': 0.0}
    """
    numbers = {}
    for name, value in values.items():
        if np.ndim(value) == 0:
            numbers[name] = value
        elif np.ndim(value) == 1 and len(value) <= LONGEST_VECTOR:
            numbers |= {f"{name}/{index}": entry for index, entry in enumerate(value)}
    return numbers
