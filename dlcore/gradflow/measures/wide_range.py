"""Numbers far beyond the range of floats: values times a power of two, with one power for each row.

After 1000 steps back in time a cotangent may be 1e-862, which both float32 and float64 round to 0. Here each row of a
pytree has its own integer exponent,

    number = values * 2^exponent,    1/2 <= max |values| < 1 in every row that is not 0

so nothing vanishes or overflows between steps. Multiplying by a power of two moves the floating point and rounds
nothing, and exponents are added as integers. So the numbers after any number of steps are those that plain floats
would give if their range were large enough. The logarithm is taken once, of the result.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.ops.arrays import (
    at_least_float32,
    check_array,
    check_dtypes,
    check_floats,
    check_integers,
    expand_to_rank,
)
from dlcore.utils.checks import check_instance, check_integer, shown

Tree: TypeAlias = Any

LOWEST = -(2**30)
"""The exponent of exactly 0: below all others, and far enough from the end of int32 for differences of exponents."""
# ln 2 as a sum, in which an integer times the first part is exact.
LN2_HIGH, LN2_LOW = 355 / 512, -2.1219444005469057e-4


class WideRange(NamedTuple):
    """A pytree of numbers ``values * 2^exponent``.

    Attributes:
        values: a pytree of arrays ``[*rows, ...]``: the row axes, and then any number of feature axes.
        exponent: ``[*rows]`` int32; `LOWEST` where all values of the row are 0.
    """

    values: Tree
    exponent: jax.Array


def normalize(values: Tree, exponent: jax.Array) -> WideRange:
    """Returns ``values * 2^exponent`` as a `WideRange`, with the largest absolute value of each row in [1/2, 1).

    A row of zeros gets the exponent `LOWEST`.

    Args:
        values: floating point arrays ``[*rows, ...]``; inf and NaN stay as they are.
        exponent: ``[*rows]`` integers; their shape defines which axes are rows.

    Raises:
        ValueError: there is no array, or one does not begin with the axes of the exponent.
        TypeError: the values are not floating point arrays, or the exponents not an array of integers.

    >>> normalize(jnp.array([[3.0, 1.0], [0.0, 0.0]]), jnp.array([10, 10])).values.tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    exponent = check_integers("exponent", exponent)
    _check_values(values, exponent.shape)
    # If the values are constants, the compiler would turn the norm's (x 2^n)(x 2^n) into x^2 2^2n, which can be 0 inf.
    values = lax.optimization_barrier(values)
    largest = _largest(values, exponent.ndim)
    lowest = max(jnp.finfo(leaf.dtype).minexp for leaf in jax.tree.leaves(values))
    # Within these limits 2^-shift is a float. Values near the largest float stay below 4 in place of 1.
    shift = jnp.clip(jnp.frexp(largest)[1], lowest + 1, -lowest)
    return WideRange(_times_power(values, -shift), jnp.where(largest == 0, LOWEST, exponent + shift))


def from_floats(values: Tree, rows: int) -> WideRange:
    """Converts a tree of plain arrays to a normalized `WideRange`.

    Args:
        values: floating point arrays ``[*rows, ...]``.
        rows: the number of leading axes that are rows.

    Raises:
        ValueError: there is no array, one has fewer axes than rows, two differ in them, or rows is below 0.
        TypeError: the values are not floating point arrays, or rows is not an integer.
    """
    leaves, rows = jax.tree.leaves(values), check_integer("rows", rows, 0)
    _check_values(values, ())
    _check_values(values, leaves[0].shape[:rows])
    if leaves[0].ndim < rows:
        raise ValueError(f"values: got shape {leaves[0].shape}, expected at least {rows} axes of rows")
    return normalize(values, jnp.zeros(leaves[0].shape[:rows], jnp.int32))


def add(these: WideRange, others: WideRange) -> WideRange:
    """Adds row by row at the larger of both exponents, so that the larger number remains however far they are apart.

    Args:
        these: values ``[*rows, ...]``, exponents ``[*rows]``.
        others: a `WideRange` of the same shapes.

    Returns:
        The normalized sum, a `WideRange` of the same shapes.

    >>> total = add(from_floats(jnp.ones((1, 2)), 1), normalize(jnp.ones((1, 2)), jnp.array([-9000])))
    >>> float(log_norm(total)[0]) == float(jnp.log(2.0) / 2)
    True
    """
    return normalize(*add_unnormalized(these, others))


def add_unnormalized(these: WideRange, others: WideRange) -> WideRange:
    """Adds as `add` does, but returns a sum that is not normalized: n summands give values up to n.

    Normalizing once at the end is enough for a sum of many.
    """
    _check_wide("these", these)
    _check_wide("others", others)
    exponent = jnp.maximum(these.exponent, others.exponent)
    parts = [_times_power(part.values, part.exponent - exponent) for part in (these, others)]
    return WideRange(jax.tree.map(jnp.add, *parts), exponent)


def to_common_exponent(numbers: WideRange, valid: jax.Array | None = None) -> WideRange:
    """Brings all rows of the last row axis to one exponent, the largest of them.

    A sum over rows, as in a parameter's gradient, needs this. A row that is smaller than the largest one by more than
    a float's whole range becomes 0; it would not change the sum.

    Args:
        numbers: values ``[*rows, B, ...]``, exponents ``[*rows, B]``.
        valid: booleans ``[B]``, True for the rows whose exponents count in the maximum; None: all.

    Returns:
        A `WideRange` with values ``[*rows, B, ...]`` and exponents ``[*rows]``.
    """
    _check_wide("numbers", numbers)
    if valid is not None:
        check_array("valid", valid, 1, "[B]", "booleans")
        if valid.dtype != bool or valid.shape != numbers.exponent.shape[-1:]:
            raise ValueError(
                f"valid: got {shown(valid)}, expected booleans [B] = {numbers.exponent.shape[-1:]}"
            )
    counted = numbers.exponent if valid is None else jnp.where(valid, numbers.exponent, LOWEST)
    exponent = counted.max(axis=-1, initial=LOWEST)
    shift = jnp.minimum(numbers.exponent - exponent[..., None], 0)
    return WideRange(_times_power(numbers.values, shift), exponent)


def to_floats(numbers: WideRange) -> Tree:
    """Returns the numbers as a tree of plain arrays ``[*rows, ...]``; numbers outside their range become inf or 0."""
    _check_wide("numbers", numbers)
    lowest = max(jnp.finfo(leaf.dtype).minexp for leaf in jax.tree.leaves(numbers.values))
    exponent = jnp.clip(numbers.exponent, 2 * lowest, -2 * lowest)
    half = exponent // 2  # in two factors, as the power may be no float although the product is one
    return _times_power(_times_power(numbers.values, half), exponent - half)


def log_norm(numbers: WideRange) -> jax.Array:
    """Returns an array ``[*rows]``: the natural log of each row's Euclidean norm over the whole pytree; -inf for 0.

    >>> log_norm(normalize(jnp.array([[3.0, 4.0], [0.0, 0.0]]), jnp.array([-7000, 0]))).round(2).tolist()
    [-4850.419921875, -inf]
    """
    _check_wide("numbers", numbers)
    squares = [
        jnp.sum(at_least_float32(leaf) ** 2, axis=tuple(range(numbers.exponent.ndim, leaf.ndim)))
        for leaf in jax.tree.leaves(numbers.values)
    ]
    exponent = numbers.exponent.astype(squares[0].dtype)
    return exponent * LN2_HIGH + (exponent * LN2_LOW + jnp.log(sum(squares)) / 2)


def joint_log_norm(logs: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Returns the log norm of several parts together: arrays ``[...]`` of each part's log norm -> ``[...]``.

    Args:
        logs: natural log norms ``[parts, ...]``, an array or a sequence of at least one array ``[...]``.

    Raises:
        ValueError: there is no part.
        TypeError: a part is not an array of floating point numbers.
    """
    if isinstance(logs, jax.Array | np.ndarray):
        check_floats("logs", logs, 1, "[parts, ...]")
    else:
        check_instance("logs", logs, Sequence, "an array or a sequence of arrays")
    parts = [check_floats("logs", part) for part in logs]
    if not parts:
        raise ValueError("logs: got no part, expected at least one")
    return jax.nn.logsumexp(2 * jnp.stack(parts), axis=0) / 2


def power_of_two(exponent: jax.Array, dtype: Any) -> jax.Array:
    """Returns ``2^exponent`` exactly, composed of its bits, as an array of the exponent's shape and this float dtype.

    Below the smallest normal float the result is 0. Above the range it is the largest power that is a float.

    >>> power_of_two(jnp.array([-2000, -126, 0, 3]), jnp.float32).tolist()
    [0.0, 1.1754943508222875e-38, 1.0, 8.0]
    """
    check_dtypes(dtype, dtype)
    dtype, exponent = jnp.dtype(dtype), check_integers("exponent", exponent)
    info = jnp.finfo(dtype)
    # The biased exponent 0 belongs to the number 0.
    biased = jnp.clip(exponent + info.maxexp - 1, 0, 2 * info.maxexp - 2)
    bits = biased.astype(f"int{info.bits}") << info.nmant
    return lax.bitcast_convert_type(bits, dtype)


def _check_values(values: Tree, rows: tuple[int, ...]) -> None:
    if not jax.tree.leaves(values):
        raise ValueError("values: got a tree without arrays, expected at least one")
    for leaf in jax.tree.leaves(values):
        check_floats("values", leaf)
        if leaf.shape[: len(rows)] != rows:
            raise ValueError(f"values: got shape {leaf.shape}, expected one that begins with the rows {rows}")


def _check_wide(name: str, numbers: WideRange) -> None:
    check_instance(name, numbers, WideRange, "a WideRange, as from_floats makes it")
    _check_values(numbers.values, check_integers(f"{name}.exponent", numbers.exponent).shape)


def _times_power(values: Tree, exponent: jax.Array) -> Tree:
    return jax.tree.map(
        lambda leaf: leaf * expand_to_rank(power_of_two(exponent, leaf.dtype), leaf.ndim), values
    )


def _largest(values: Tree, rows: int) -> jax.Array:
    """Returns the largest absolute value of each row; NaN if the row has one."""
    first, *others = [
        jnp.max(jnp.abs(at_least_float32(leaf)), axis=tuple(range(rows, leaf.ndim)), initial=0)
        for leaf in jax.tree.leaves(values)
    ]
    for other in others:
        first = jnp.maximum(first, other)
    return first
