"""Small helpers for arrays that every room above uses: dtypes, trailing axes, a choice by row."""

import jax
import jax.numpy as jnp


def check_floats(name: str, inputs: jax.Array) -> None:
    """Raises TypeError unless the array holds real floating point numbers."""
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(
            f"{name}: got {inputs.dtype}, expected floating point numbers; convert integers with "
            "astype(float32), scaled as the data asks, and split complex numbers into real and imaginary part"
        )


def at_least_float32(array: jax.Array) -> jax.Array:
    """The array in float32, or in its own dtype if that is wider.

    Sums, means and logarithms of half precision lose most of their digits.

    >>> at_least_float32(jnp.ones(2, jnp.bfloat16)).dtype
    dtype('float32')
    """
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def expand_to_rank(array: jax.Array, rank: int) -> jax.Array:
    """The array with axes of size 1 appended until it has ``rank`` axes, so that it broadcasts over features.

    >>> expand_to_rank(jnp.ones((2, 3)), 4).shape
    (2, 3, 1, 1)
    """
    return array.reshape(*array.shape, *[1] * (rank - array.ndim))


def where_rows(rows: jax.Array, these: jax.Array, others: jax.Array) -> jax.Array:
    """``jnp.where`` by row: ``rows [...]`` chooses between arrays ``[..., *features]``."""
    return jnp.where(expand_to_rank(rows, these.ndim), these, others)
