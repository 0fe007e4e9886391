"""Numbers far beyond the range of floats: values times a power of two, one power for each row.

A cotangent that goes back 1000 steps passes 1e-862 where both float32 and float64 know only 0. Here each row of a
pytree carries an integer exponent of its own,

    number = values * 2^exponent,    1/2 <= max |values| < 1 in every row that is not 0

so nothing vanishes or overflows between steps. A power of two, as it only moves the floating point: no multiplication
by it rounds, exponents are added as integers, and after any number of steps the numbers are those that plain floats
would have given, if they reached so far. A logarithm is taken once, of the result.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Tree: TypeAlias = Any

LOWEST = -(2**30)
"""The exponent of exactly 0: below all others, and far enough from the end of int32 to be subtracted."""
# ln 2, of which the first part times an integer is exact.
LN2_HIGH, LN2_LOW = 355 / 512, -2.1219444005469057e-4


class WideRange(NamedTuple):
    """A pytree of ``values * 2^exponent``.

    Attributes:
        values: arrays ``[*rows, ...]``, any number of features behind the rows.
        exponent: ``[*rows]`` int32; `LOWEST` where all of the row's values are 0.
    """

    values: Tree
    exponent: jax.Array


def normalize(values: Tree, exponent: jax.Array) -> WideRange:
    """``values * 2^exponent`` with the largest value of each row brought to [1/2, 1).

    Args:
        values: floating point arrays ``[*rows, ...]``; what is not finite stays so.
        exponent: ``[*rows]`` integers, whose shape says which axes are rows.

    >>> scaled(jnp.array([[3.0, 1.0], [0.0, 0.0]]), jnp.array([10, 10])).values.tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    # Of values it knows, the compiler would take the norm's (x 2^n)(x 2^n) for x^2 2^2n, which can be 0 inf.
    values = lax.optimization_barrier(values)
    largest = _largest(values, exponent.ndim)
    moved = jnp.frexp(largest)[1]
    lowest = max(jnp.finfo(leaf.dtype).minexp for leaf in jax.tree.leaves(values))
    moved = jnp.clip(
        moved, lowest + 1, -lowest
    )  # of which 2^-moved is a float; the largest floats stay below 4
    return WideRange(_times_power(values, -moved), jnp.where(largest == 0, LOWEST, exponent + moved))


def from_floats(values: Tree, rows: int) -> WideRange:
    """Plain arrays, the first ``rows`` axes of which are rows."""
    return normalize(values, jnp.zeros(jax.tree.leaves(values)[0].shape[:rows], jnp.int32))


def add(these: WideRange, others: WideRange) -> WideRange:
    """The sum, row by row at the larger of both exponents: however far apart they are, the larger one remains.

    >>> total = add(from_floats(jnp.ones((1, 2)), 1), scaled(jnp.ones((1, 2)), jnp.array([-9000])))
    >>> float(log_norm(total)[0]) == float(jnp.log(2.0) / 2)
    True
    """
    return normalize(*add_unnormalized(these, others))


def add_unnormalized(total: WideRange, more: WideRange) -> WideRange:
    """`add` for a sum of many, which leaves the values as they come: up to as many times 1 as there were summands."""
    exponent = jnp.maximum(total.exponent, more.exponent)
    parts = [_times_power(part.values, part.exponent - exponent) for part in (total, more)]
    return WideRange(jax.tree.map(jnp.add, *parts), exponent)


def to_common_exponent(numbers: WideRange, own: jax.Array | None = None) -> WideRange:
    """All rows of the last row axis at one exponent, the largest one: ``exponent [*rows, B] -> [*rows]``.

    What sums over rows, as a parameter's gradient does, needs this. A row that is smaller than the largest one by more
    than a float's whole range becomes 0, as beside that row it is.

    Args:
        numbers: ``[*rows, B]``. own: ``[B]``, rows that take part in the maximum; None: all.
    """
    among = numbers.exponent if own is None else jnp.where(own, numbers.exponent, LOWEST)
    exponent = among.max(axis=-1)
    below = jnp.minimum(numbers.exponent - exponent[..., None], 0)
    return WideRange(_times_power(numbers.values, below), exponent)


def to_floats(numbers: WideRange) -> Tree:
    """As plain floats: inf or 0 where these do not reach."""
    lowest = max(jnp.finfo(leaf.dtype).minexp for leaf in jax.tree.leaves(numbers.values))
    exponent = jnp.clip(numbers.exponent, 2 * lowest, -2 * lowest)
    half = exponent // 2  # in two parts, as one can be no float where the product is one
    return _times_power(_times_power(numbers.values, half), exponent - half)


def log_norm(numbers: WideRange) -> jax.Array:
    """The natural logarithm of each row's Euclidean norm over the whole pytree, ``[*rows]``; -inf of exactly 0.

    >>> log_norm(scaled(jnp.array([[3.0, 4.0], [0.0, 0.0]]), jnp.array([-7000, 0]))).round(2).tolist()
    [-4850.419921875, -inf]
    """
    squares = [_over_features(jnp.sum, leaf**2, numbers.exponent.ndim) for leaf in _wide(numbers.values)]
    exponent = numbers.exponent.astype(squares[0].dtype)
    return exponent * LN2_HIGH + (exponent * LN2_LOW + jnp.log(sum(squares)) / 2)


def joint_log_norm(logs: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """The log norm of several things together from the log norm of each, along the first axis."""
    return jax.nn.logsumexp(2 * jnp.stack(logs), axis=0) / 2


def rows_like(rows: jax.Array, array: jax.Array) -> jax.Array:
    """``[*rows]`` in a shape that goes with an array ``[*rows, ...]``."""
    return rows.reshape(*rows.shape, *[1] * (array.ndim - rows.ndim))


def _times_power(values: Tree, exponent: jax.Array) -> Tree:
    return jax.tree.map(lambda leaf: leaf * rows_like(power_of_two(exponent, leaf.dtype), leaf), values)


def power_of_two(exponent: jax.Array, dtype: Any) -> jax.Array:
    """``2^exponent`` exactly, put together from its bits; below a float's range 0, above it the largest power.

    >>> power_of_two(jnp.array([-2000, -126, 0, 3]), jnp.float32).tolist()
    [0.0, 1.1754943508222875e-38, 1.0, 8.0]
    """
    numbers = jnp.finfo(dtype)
    biased = jnp.clip(
        exponent + numbers.maxexp - 1, 0, 2 * numbers.maxexp - 2
    )  # 0 are the bits of the number 0
    bits = biased.astype(f"int{numbers.bits}") << numbers.nmant
    return lax.bitcast_convert_type(bits, dtype)


def _largest(values: Tree, rows: int) -> jax.Array:
    """The largest absolute value of each row, NaN where there is one."""
    largest = [_over_features(jnp.max, jnp.abs(leaf), rows) for leaf in _wide(values)]
    result = largest[0]
    for other in largest[1:]:
        result = jnp.maximum(result, other)
    return result


def _over_features(reduce: Any, leaf: jax.Array, rows: int) -> jax.Array:
    return reduce(leaf, axis=tuple(range(rows, leaf.ndim)))


def _wide(values: Tree) -> list[jax.Array]:
    """The leaves in float32 or more, in which sums and logarithms mean something."""
    return [leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(values)]
