"""The equations of LSTMs and GRUs for cells of any product: matrices, normalized matrices, convolutions."""

import functools
from typing import ClassVar

import jax
from flax import linen as nn
from flax.typing import Initializer

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry
from dlcore.layers.recurrent.cell import Cell, Weights
from dlcore.ops import gru, lstm
from dlcore.ops.recurrence import dropped


class LSTMGates(Cell):
    """What all LSTMs share: gates in the order i, f, o, g, the step, and the carry ``(c, h)``.

    `LSTMCell` replaces the step by its fused equations.

    Attributes:
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).
    """

    forget_bias: float = 1.0

    gates: ClassVar[int] = 4
    gate_names: ClassVar[tuple[str, ...]] = lstm.GATES
    carry_parts: ClassVar[int] = 2

    @nn.nowrap
    def _gate_bias_init(self) -> Initializer:
        return initializers.with_gate(self.bias_init, self.gates, 1, self.forget_bias)

    @nn.nowrap
    def _step(
        self, weights: Weights, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> Carry:
        cell, hidden = carry
        z = self._drive(weights, inputs) + self._product(weights, "recurrent", dropped(hidden, mask))
        carry, _ = lstm.gated_update(z, cell, functools.partial(self._normalized_cell, weights))
        return carry

    @nn.nowrap
    def _normalized_cell(self, weights: Weights, cell: jax.Array) -> jax.Array:
        """c_t as its tanh sees it."""
        return cell


class GRUGates(Cell):
    """What the step-by-step GRUs share: gates in the order z, r, g, and r * h_{t-1} before the product with U_g.

    `GRUCell` replaces the step by its fused equations, which also know ``reset="after"``.
    """

    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = gru.GATES

    @nn.nowrap
    def _step(
        self, weights: Weights, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> Carry:
        candidate = 2 * self.features
        product = functools.partial(self._product, weights, "recurrent")
        z, _, g = gru.gates_and_candidate(
            self._drive(weights, inputs),
            dropped(carry, mask),
            functools.partial(product, gates=slice(candidate)),
            functools.partial(product, gates=slice(candidate, None)),
        )
        return gru.interpolate(z, carry, g)
