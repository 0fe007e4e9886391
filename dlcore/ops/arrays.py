"""Small helpers for arrays that all other rooms may use: dtypes, trailing axes, a choice by row."""

import jax
import jax.numpy as jnp


def check_floats(name: str, inputs: jax.Array) -> None:
    """Checks that an array holds real floating point numbers; ``name`` is what the error message calls it.

    Raises:
        TypeError: the array has another dtype, such as integer, boolean or complex.
    """
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"{name}: got {inputs.dtype}, expected floating point numbers; convert integers with "
            "astype(float32), scaled as the data asks, and split complex numbers into real and imaginary part"
        )


def at_least_float32(array: jax.Array) -> jax.Array:
    """A float array in float32, or in float64 if it is that already; integers become float32, complex stays complex.

    Sums, means and logarithms of half precision lose most of their digits.

    >>> at_least_float32(jnp.ones(2, jnp.bfloat16)).dtype
    dtype('float32')
    """
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def expand_to_rank(array: jax.Array, rank: int) -> jax.Array:
    """The same array with axes of size 1 appended until it has ``rank`` axes, so that it broadcasts over features.

    ``rank`` must be at least the number of axes that the array has.

    >>> expand_to_rank(jnp.ones((2, 3)), 4).shape
    (2, 3, 1, 1)
    """
    return array.reshape(*array.shape, *[1] * (rank - array.ndim))


def where_rows(rows: jax.Array, these: jax.Array, others: jax.Array) -> jax.Array:
    """An array that takes each row from ``these`` where ``rows`` is True, and from ``others`` elsewhere.

    Args:
        rows: booleans ``[...]``, one for each row.
        these: ``[..., *features]``.
        others: ``[..., *features]``, or anything that broadcasts to it, such as a scalar.

    Returns:
        ``[..., *features]``.
    """
    return jnp.where(expand_to_rank(rows, these.ndim), these, others)
