"""The equations of the LSTM with a projection: a wide memory that is fed back and read through few numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.lstm import Carry, Gates, gate_slopes, gated_update
from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed


class ProjectedKernels(NamedTuple):
    """The weights of an LSTM with a projection.

    Attributes:
        kernels: W ``[F, 4H]``, U ``[P, 4H]`` and b ``[4H]``, in the order i, f, o, g.
        projection: V ``[H, P]``.
    """

    kernels: Kernels
    projection: jax.Array


class Saved(NamedTuple):
    """What `ProjectedLstm.differential` needs from a step.

    Attributes:
        before: ``h_{t-1} [B, P]``, after dropout.
        memory: ``m_t [B, H]``, which is projected.
        gate_slopes: ``[B, 4H]``, as in `lstm.Saved`, where h_t is m_t.
        forget: ``[B, H]``, the slope of c_t in c_{t-1}.
        cell_slope: ``[B, H]``, the slope of m_t in c_t.
    """

    before: jax.Array
    memory: jax.Array
    gate_slopes: jax.Array
    forget: jax.Array
    cell_slope: jax.Array


class ProjectedLstm(NamedTuple):
    """The LSTM with a projection as `recurrence.Equations` (Sak, Senior & Beaufays 2014, arXiv 1402.1128)

    z_t = x_t W + h_{t-1} U + b,    i, f, o = sigma(z_t),    g = tanh(z_t)
    c_t = f * c_{t-1} + i * g,    m_t = o * tanh(c_t),    h_t = m_t V
    """

    def update(
        self, weights: ProjectedKernels, carry: Carry, inputs: jax.Array
    ) -> tuple[tuple[Carry, jax.Array], Gates]:
        """One step, ``carry_{t-1}, x_t -> (carry_t, m_t)`` and the values of the gates."""
        cell, before = carry
        (cell, memory), gates = gated_update(pre_activations(weights.kernels, inputs, before), cell)
        return ((cell, memory @ weights.projection), memory), gates

    def step(
        self, weights: ProjectedKernels, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Carry, Saved]:
        cell, before = carry[0], dropped(carry[1], mask)
        (carry, memory), gates = self.update(weights, (cell, before), inputs)
        cell_slope = gates.o * (1 - gates.squashed * gates.squashed)
        return carry, Saved(before, memory, gate_slopes(gates, cell), gates.f, cell_slope)

    def hidden(self, carry: Carry) -> jax.Array:
        return carry[1]

    def drive(self, weights: ProjectedKernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        """z and, side by side with it, h: the projection is the cell's second product, ``[..., 4H + P]``."""
        z = pre_activations(weights.kernels, inputs, saved.before)
        return jnp.concatenate([z, saved.memory @ weights.projection], axis=-1)

    def constants(self, weights: ProjectedKernels) -> tuple[jax.Array, jax.Array]:
        return weights.kernels.recurrent_kernel.T, weights.projection.T

    def differential(
        self, constants: tuple[jax.Array, jax.Array], saved: Saved, carry_dot: Carry, drive_dot: jax.Array
    ) -> Carry:
        (recurrent, projection), (cell, hidden) = constants, carry_dot
        z, projected = jnp.split(drive_dot, [saved.gate_slopes.shape[-1]], axis=-1)
        i, f, o, g = jnp.split(saved.gate_slopes * (z + times_transposed(hidden, recurrent)), 4, axis=-1)
        cell = saved.forget * cell + i + f + g
        return cell, projected + times_transposed(o + saved.cell_slope * cell, projection)
