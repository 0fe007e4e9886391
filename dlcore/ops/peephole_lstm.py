"""The equations of the LSTM with peepholes, whose gates see the cell's memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import broadcast_weights
from dlcore.ops.lstm import Carry, Gates, gate_slopes
from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed


class PeepholeKernels(NamedTuple):
    """The weights of an LSTM with peepholes.

    Attributes:
        kernels: W, U and b, as in `lstm.Lstm`.
        peepholes: p ``[3H]``, those of i, f and o side by side. A unit's gates see the memory of this unit only.
    """

    kernels: Kernels
    peepholes: jax.Array


def peephole_update(z: jax.Array, cell: jax.Array, peepholes: jax.Array) -> tuple[Carry, Gates]:
    """The equations after the products (Gers & Schmidhuber 2000, Recurrent nets that time and count)

        i = sigma(z_i + p_i * c_{t-1}),    f = sigma(z_f + p_f * c_{t-1}),    g = tanh(z_g)
        c_t = f * c_{t-1} + i * g
        o = sigma(z_o + p_o * c_t),    h_t = o * tanh(c_t)

    Args:
        z: pre-activations without the peepholes, ``[..., 4H]``, in the order i, f, o, g.
        cell: ``c_{t-1} [..., H]``.
        peepholes: p ``[3H]``, in the order i, f, o.

    Returns:
        The pair of the new carry ``(c_t, h_t)``, each ``[..., H]``, and the values of the gates.
    """
    z_i, z_f, z_o, z_g = jnp.split(z, 4, axis=-1)
    p_i, p_f, p_o = _spread(peepholes, cell)
    i, f, g = jax.nn.sigmoid(z_i + p_i * cell), jax.nn.sigmoid(z_f + p_f * cell), jnp.tanh(z_g)
    cell = f * cell + i * g
    o, squashed = jax.nn.sigmoid(z_o + p_o * cell), jnp.tanh(cell)
    return (cell, o * squashed), Gates(jnp.concatenate([i, f, o], axis=-1), f, o, g, squashed)


class Saved(NamedTuple):
    """What `PeepholeLstm.differential` needs from a step; arrays ``[B, H]`` unless their line says otherwise.

    Attributes:
        before: ``h_{t-1}``, after dropout.
        cell: ``c_{t-1}``, which i and f see.
        new_cell: ``c_t``, which o sees.
        gate_slopes: ``[B, 4H]``, as in `lstm.Saved`; the z of a gate contains its peephole.
        forget: f, the slope of c_t in c_{t-1} if the gates are constant.
        cell_slope: the slope of h_t in c_t if o is constant.
    """

    before: jax.Array
    cell: jax.Array
    new_cell: jax.Array
    gate_slopes: jax.Array
    forget: jax.Array
    cell_slope: jax.Array


class PeepholeLstm(NamedTuple):
    """The LSTM with peepholes as `recurrence.Equations`: `peephole_update` of ``z_t = x_t W + h_{t-1} U + b``."""

    def update(self, weights: PeepholeKernels, carry: Carry, inputs: jax.Array) -> tuple[Carry, Gates]:
        """One step, ``carry_{t-1}, x_t -> carry_t`` and the values of the gates."""
        cell, before = carry
        return peephole_update(pre_activations(weights.kernels, inputs, before), cell, weights.peepholes)

    def step(
        self, weights: PeepholeKernels, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Carry, Saved]:
        cell, before = carry[0], dropped(carry[1], mask)
        carry, gates = self.update(weights, (cell, before), inputs)
        cell_slope = gates.o * (1 - gates.squashed * gates.squashed)
        return carry, Saved(before, cell, carry[0], gate_slopes(gates, cell), gates.f, cell_slope)

    def hidden(self, carry: Carry) -> jax.Array:
        return carry[1]

    def drive(self, weights: PeepholeKernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        p_i, p_f, p_o = _spread(weights.peepholes, saved.cell)
        seen = [p_i * saved.cell, p_f * saved.cell, p_o * saved.new_cell, jnp.zeros_like(saved.cell)]
        return pre_activations(weights.kernels, inputs, saved.before) + jnp.concatenate(seen, axis=-1)

    def constants(self, weights: PeepholeKernels) -> tuple[jax.Array, jax.Array]:
        return weights.kernels.recurrent_kernel.T, weights.peepholes

    def differential(
        self, constants: tuple[jax.Array, jax.Array], saved: Saved, carry_dot: Carry, drive_dot: jax.Array
    ) -> Carry:
        (transposed, peepholes), (cell, hidden) = constants, carry_dot
        p_i, p_f, p_o = jnp.split(peepholes, 3)
        z_i, z_f, z_o, z_g = jnp.split(drive_dot + times_transposed(hidden, transposed), 4, axis=-1)
        i, f, o, g = jnp.split(saved.gate_slopes, 4, axis=-1)
        new_cell = saved.forget * cell + i * (z_i + p_i * cell) + f * (z_f + p_f * cell) + g * z_g
        return new_cell, o * (z_o + p_o * new_cell) + saved.cell_slope * new_cell


def _spread(peepholes: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """p_i, p_f and p_o, which broadcast over cells ``[..., H]``; see `arrays.broadcast_weights`."""
    p_i, p_f, p_o = (broadcast_weights(part, cell.shape) for part in jnp.split(peepholes, 3))
    return p_i, p_f, p_o
