"""Dropout and zoneout in time."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.recurrent.carry import Carry
from dlcore.ops import recurrence
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.recurrence import Equations, Kernels


def check_rate(name: str, rate: float) -> None:
    """ValueError unless the rate is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: got {rate}, expected a share in [0, 1)")


def train_option(cell: nn.RNNCellBase, train: bool | None) -> dict[str, Any]:
    """``train`` as a keyword of the cell's call, where the cell knows it and it was said."""
    knows = "train" in inspect.signature(type(cell).__call__).parameters
    return {"train": train} if knows and train is not None else {}


class Noise(NamedTuple):
    """The rates of a `Cell` and the key of one call; without a key it is the evaluation, where zoneout averages."""

    input_dropout: float
    recurrent_dropout: float
    zoneout: float | tuple[float, float]
    variational: bool
    key: jax.Array | None

    def sequence(
        self,
        equations: Equations,
        kernels: Kernels,
        carry: Carry,
        inputs: jax.Array,
        lengths: jax.Array | None,
        loop: Loop,
    ) -> tuple[Carry, jax.Array]:
        """`recurrence.run` with noise; inputs ``[B, T, F]``."""
        inputs = self.drop(inputs, all_steps=self.variational)
        if not self.recurrent_dropout and not any(jax.tree.leaves(self.zoneout)):
            return recurrence.gated_scan(equations, kernels, carry, inputs, lengths, loop)
        width = equations.hidden(carry).shape[-1]
        mask = self.recurrent_mask(inputs.shape[:1], width, inputs.dtype) if self.variational else None
        return recurrence.masked_scan(self.step(equations, kernels, mask), carry, inputs, lengths, loop)

    def drop(self, inputs: jax.Array, all_steps: bool = False) -> jax.Array:
        """Inputs with dropout; with ``all_steps`` one mask for all T of ``[B, T, F]``."""
        if self.key is None or not self.input_dropout:
            return inputs
        shape = (len(inputs), 1, inputs.shape[-1]) if all_steps else inputs.shape
        return inputs * _mask(self._key(0), self.input_dropout, shape, inputs.dtype)

    def recurrent_mask(
        self, batch: Sequence[int], width: int, dtype: Any, number: int | jax.Array = 0
    ) -> jax.Array | None:
        """What multiplies h ``[*batch, H]``: 0, or 1 / (1 - rate); None without dropout."""
        if self.key is None or not self.recurrent_dropout:
            return None
        return _mask(self._key(1, number), self.recurrent_dropout, (*batch, width), dtype)

    def step(
        self, equations: Equations, kernels: Kernels, mask: jax.Array | None
    ) -> Callable[[Carry, jax.Array, int | jax.Array], tuple[Carry, jax.Array]]:
        """The step ``carry, x_t, t -> carry, h_t`` with a mask of the sequence, or (None) one of its own."""

        def noisy(carry: Carry, inputs: jax.Array, number: int | jax.Array) -> tuple[Carry, jax.Array]:
            own = mask
            if own is None:
                hidden = equations.hidden(carry)
                own = self.recurrent_mask(hidden.shape[:-1], hidden.shape[-1], hidden.dtype, number)
            after, _ = equations.step(kernels, carry, inputs, own)
            after = self._zone_out(carry, after, number)
            return after, equations.hidden(after)

        return noisy

    def _zone_out(self, before: Carry, after: Carry, number: int | jax.Array) -> Carry:
        old, treedef = jax.tree.flatten(before)
        rates = self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,) * len(old)
        if len(rates) != len(old):
            raise ValueError(
                f"zoneout: got {self.zoneout}, expected one rate, or {len(old)}, one a part of the state"
            )
        mixed = []
        for part, (rate, was, new) in enumerate(zip(rates, old, jax.tree.leaves(after), strict=True)):
            if self.key is None:
                mixed.append(rate * was + (1 - rate) * new)
            else:
                keep = jax.random.bernoulli(self._key(2 + part, number), rate, was.shape)
                mixed.append(jnp.where(keep, was, new))
        return jax.tree.unflatten(treedef, mixed)

    def _key(self, purpose: int, number: int | jax.Array = 0) -> jax.Array:
        assert self.key is not None  # the callers draw in training only
        return jax.random.fold_in(jax.random.fold_in(self.key, purpose), number)


def _mask(key: jax.Array, rate: float, shape: Sequence[int], dtype: Any) -> jax.Array:
    """0 with probability ``rate``, otherwise ``1 / (1 - rate)``, so that the mean is 1."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)
