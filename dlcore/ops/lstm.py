"""The long short-term memory, as the lecture writes it."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed

Carry: TypeAlias = tuple[jax.Array, jax.Array]
"""``(c, h)``, each ``[B, H]``, in flax's order."""


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
        i, f, o, g = jnp.split(pre_activations(weights, inputs, dropped(before, mask)), 4, axis=-1)
        i, f, o, g = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g)
        new_cell = f * cell + i * g
        seen = jnp.tanh(new_cell)
        hidden = o * seen
        slopes = jnp.concatenate(
            [g * i * (1 - i), cell * f * (1 - f), seen * o * (1 - o), i * (1 - g * g)], axis=-1
        )
        return (new_cell, hidden), Saved(before, slopes, f, o * (1 - seen * seen))

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
