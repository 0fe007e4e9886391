"""The state of a recurrent layer before its first step: how it is made, checked and described."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

Carry: TypeAlias = Any


def make_carry(cell: nn.RNNCellBase, inputs: tuple[int, ...]) -> Carry:
    """The cell's state before the first step.

    Args:
        cell: the cell.
        inputs: shape of the inputs of one step, ``[*batch, features]``.
    """
    return cell.initialize_carry(jax.random.key(0), inputs)


def check_carry(name: str, carry: Carry, cell: nn.RNNCellBase, inputs: tuple[int, ...]) -> None:
    """Raises ValueError unless the carry has the structure and shapes of the cell's carry for one step's inputs."""
    expected = describe_carry(jax.eval_shape(lambda: make_carry(cell, inputs)))
    if describe_carry(carry) != expected:
        raise ValueError(
            f"{name}: got {describe_carry(carry)}, expected {expected} for a step's inputs of shape {tuple(inputs)} "
            f"and a {type(cell).__name__}; initialize_carry makes one"
        )


def hidden_of(carry: Carry) -> jax.Array:
    """The h of one cell's carry: the last part of an LSTM's ``(c, h)``, also of flax's; otherwise the whole carry."""
    return carry[-1] if isinstance(carry, tuple) else carry


def describe_carry(carry: Carry) -> str:
    """A carry's shapes in its structure.

    >>> describe_carry((jnp.ones((2, 4)), jnp.ones((2, 4))))
    '((2, 4), (2, 4))'
    """
    return str(jax.tree.map(lambda array: tuple(jnp.shape(array)), carry))
