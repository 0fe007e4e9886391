"""The long short-term memory, as the lecture writes it."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed

Carry: TypeAlias = tuple[jax.Array, jax.Array]
"""``(c, h)``, each ``[B, H]``, in flax's order."""
GATES = ("input", "forget", "output")
"""Names of i, f and o, in the order of the kernels."""


class Saved(NamedTuple):
    """What a step leaves for its differential: ``h_{t-1}`` and slopes.

    Attributes:
        before: ``h_{t-1}`` ``[B, H]``.
        gate_slopes: ``[B, 4H]``, of c_t in the z of i, f and g, and of h_t in the z of o.
        forget: ``[B, H]``, of c_t in c_{t-1}. cell_slope: ``[B, H]``, of h_t in c_t.
    """

    before: jax.Array
    gate_slopes: jax.Array
    forget: jax.Array
    cell_slope: jax.Array


class Lstm(NamedTuple):
    """The equations (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000; lecture: LSTM):

        i, f, o = sigma(x_t W + h_{t-1} U + b),  g = tanh(x_t W + h_{t-1} U + b)
        c_t = f * c_{t-1} + i * g
        h_t = o * tanh(c_t)

    with the gates side by side in W ``[F, 4H]``, U ``[H, 4H]`` and b ``[4H]``, in the order i, f, o, g.
    """

    def step(
        self, weights: Kernels, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Carry, Saved]:
        cell, before = carry
        z = pre_activations(weights, inputs, dropped(before, mask))
        of_gates, of_candidate = jnp.split(z, [3 * cell.shape[-1]], axis=-1)
        gates, g = jax.nn.sigmoid(of_gates), jnp.tanh(of_candidate)
        i, f, o = jnp.split(gates, 3, axis=-1)
        new_cell = f * cell + i * g
        seen = jnp.tanh(new_cell)
        return (new_cell, o * seen), Saved(
            before, _gate_slopes(gates, g, cell, seen), f, o * (1 - seen * seen)
        )

    def hidden(self, carry: Carry) -> jax.Array:
        return carry[1]

    def drive(self, weights: Kernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        return pre_activations(weights, inputs, saved.before)

    def constants(self, weights: Kernels) -> jax.Array:
        return weights.recurrent_kernel.T

    def differential(
        self, constants: jax.Array, saved: Saved, carry_dot: Carry, drive_dot: jax.Array
    ) -> Carry:
        cell, hidden = carry_dot
        z = drive_dot + times_transposed(hidden, constants)
        i, f, o, g = jnp.split(saved.gate_slopes * z, 4, axis=-1)
        cell = saved.forget * cell + i + f + g
        return cell, o + saved.cell_slope * cell


def _gate_slopes(gates: jax.Array, g: jax.Array, cell: jax.Array, seen: jax.Array) -> jax.Array:
    """Each gate's slope in its z, times what it multiplies: in one pass over all four, which is the fastest way."""
    i = gates[..., : g.shape[-1]]
    values = jnp.concatenate([gates, g], axis=-1)
    of_tanh = jnp.arange(values.shape[-1]) >= gates.shape[-1]
    slopes = jnp.where(of_tanh, 1 - values * values, values * (1 - values))
    return slopes * jnp.concatenate([g, cell, seen, i], axis=-1)
