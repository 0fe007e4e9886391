"""The state of a recurrent layer before its first step: how it is made, checked and described."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

Carry: TypeAlias = Any
Lengths: TypeAlias = jax.Array | None
"""``[*batch]`` integers, the number of valid steps of each row; None if all steps are valid."""


def make_carry(cell: nn.RNNCellBase, input_shape: tuple[int, ...]) -> Carry:
    """The cell's state before the first step, from its ``initialize_carry`` with a fixed random key.

    Args:
        cell: the cell.
        input_shape: shape of the inputs of one step, ``[*batch, F]``, or ``[*batch, *spatial, C]`` for a
            convolutional cell.
    """
    return cell.initialize_carry(jax.random.key(0), input_shape)


def check_carry(name: str, carry: Carry, cell: nn.RNNCellBase, input_shape: tuple[int, ...]) -> None:
    """Checks that a carry is one of this cell.

    Args:
        name: what the error message calls the carry.
        carry: the carry to check.
        cell: the cell.
        input_shape: shape of the inputs of one step, as in `make_carry`.

    Raises:
        ValueError: the carry has another structure or other shapes than `make_carry` gives.
        TypeError: it holds something else than real numbers.
    """
    expected = jax.eval_shape(lambda: make_carry(cell, input_shape))
    owner = f"for a step's inputs of shape {tuple(input_shape)} and a {type(cell).__name__}; initialize_carry makes one"
    check_like(name, carry, expected, owner)


def check_like(name: str, carry: Carry, expected: Carry, owner: str) -> None:
    """Checks that a carry has the structure and shapes of another, and holds real numbers.

    Args:
        name: what the error message calls the carry.
        carry: the carry to check.
        expected: a carry, or its shapes.
        owner: the end of the error message, which says to what the carry belongs.

    Raises:
        ValueError: the carry has another structure or other shapes.
        TypeError: it holds something else than real numbers.
    """
    if describe_carry(carry) != describe_carry(expected):
        raise ValueError(f"{name}: got {describe_carry(carry)}, expected {describe_carry(expected)} {owner}")
    for leaf in jax.tree.leaves(carry):
        if jnp.iscomplexobj(leaf):
            raise TypeError(f"{name}: got complex numbers, expected real ones {owner}")


def hidden_of(carry: Carry) -> jax.Array:
    """The array h of one cell's carry: the last part if the carry is a tuple, as ``(c, h)``; else the whole carry."""
    return carry[-1] if isinstance(carry, tuple) else carry


def describe_carry(carry: Carry) -> str:
    """A string that shows the shapes of a carry's arrays within its structure, for error messages.

    >>> describe_carry((jnp.ones((2, 4)), jnp.ones((2, 4))))
    '((2, 4), (2, 4))'
    """
    return str(jax.tree.map(lambda array: tuple(np.shape(array)), carry))
