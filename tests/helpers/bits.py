"""Comparisons of trees of arrays."""

from typing import Any

import jax
import numpy as np


def assert_same_bits(first: Any, second: Any) -> None:
    """Both trees have the same structure, types and bits."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert (one.dtype, np.asarray(one).tobytes()) == (other.dtype, np.asarray(other).tobytes())


def assert_close(first: Any, second: Any, rtol: float = 1e-6, atol: float = 1e-6) -> None:
    """Both trees have the same structure and values up to rounding."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), first, second)
