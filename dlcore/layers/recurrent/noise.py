"""Dropout and zoneout in time: the random masks of one call of a cell."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.recurrent.carry import Carry
from dlcore.utils.checks import check_number


def check_rate(name: str, rate: float) -> None:
    """Checks that a rate is a number in [0, 1); ``name`` is what the error message calls it.

    Raises:
        TypeError: the rate is not a number.
        ValueError: the rate is outside [0, 1) or NaN.
    """
    check_number(name, rate, "[0, 1)")


def train_option(cell: nn.RNNCellBase, train: bool) -> dict[str, Any]:
    """The dict ``{"train": train}`` for the cell's call; an empty dict if the call has no such keyword, as in flax."""
    knows = "train" in inspect.signature(type(cell).__call__).parameters
    return {"train": train} if knows else {}


class Noise(NamedTuple):
    """The rates of a cell and the random key of one call.

    Every mask is a function of the key, its purpose, its shape and, except for input dropout, the time step. Windows
    and the direction of a sequence therefore change no mask. Values that dropout keeps are divided by 1 - rate.

    Attributes:
        input_dropout: share of inputs that are set to 0.
        recurrent_dropout: share of h that is set to 0 where it meets the recurrent kernel.
        zoneout: share of units that keep their old state, one rate for each part of the carry.
        key: random key of the call. None in evaluation: dropout then does nothing, and zoneout takes the mean
            ``zoneout * old + (1 - zoneout) * new``.
    """

    input_dropout: float
    recurrent_dropout: float
    zoneout: tuple[float, ...]
    key: jax.Array | None

    @property
    def changes_steps(self) -> bool:
        """True if zoneout or recurrent dropout acts within single steps; input dropout acts before all of them."""
        return any(self.zoneout) or (self.key is not None and self.recurrent_dropout > 0)

    def drop_inputs(self, inputs: jax.Array, mask_shape: Sequence[int]) -> jax.Array:
        """The inputs times a dropout mask of this shape, which is broadcast over them; unchanged without dropout."""
        mask = self._mask(0, self.input_dropout, mask_shape, inputs.dtype)
        return inputs if mask is None else inputs * mask

    def recurrent_mask(self, shape: Sequence[int], dtype: Any, t: int | jax.Array = 0) -> jax.Array | None:
        """The dropout mask of this shape and dtype that multiplies h at time step t; None without dropout."""
        return self._mask(1, self.recurrent_dropout, shape, dtype, t)

    def zone_out(self, before: Carry, after: Carry, t: int | jax.Array) -> Carry:
        """The carry after time step t with zoneout: some units keep their old state; in evaluation the mean of both.

        Args:
            before: the carry before the step.
            after: the carry that the cell computed, of the same structure and shapes.
            t: index of the time step.
        """
        old, treedef = jax.tree.flatten(before)
        new = jax.tree.leaves(after)
        parts = [
            self._keep(2 + part, rate, old[part], new[part], t) for part, rate in enumerate(self.zoneout)
        ]
        return jax.tree.unflatten(treedef, parts)

    def _keep(
        self, purpose: int, rate: float, old: jax.Array, new: jax.Array, t: int | jax.Array
    ) -> jax.Array:
        if not rate:
            return new
        if self.key is None:
            return rate * old + (1 - rate) * new
        keep = jax.random.bernoulli(_fold(self.key, purpose, t), rate, old.shape)
        return jnp.where(keep, old, new)

    def _mask(
        self, purpose: int, rate: float, shape: Sequence[int], dtype: Any, t: int | jax.Array = 0
    ) -> jax.Array | None:
        """0 with probability ``rate``, otherwise ``1 / (1 - rate)``, so that the mean is 1."""
        if self.key is None or not rate:
            return None
        kept = jax.random.bernoulli(_fold(self.key, purpose, t), 1 - rate, shape)
        return kept.astype(dtype) / (1 - rate)


def _fold(key: jax.Array, purpose: int, t: int | jax.Array) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(key, purpose), t)
