"""The equations of the long short-term memory, as the lecture writes them."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed

Carry: TypeAlias = tuple[jax.Array, jax.Array]
"""``(c, h)``, each ``[..., H]``, in flax's order."""
GATES = ("input", "forget", "output")
"""Names of i, f and o, in the order of the kernels."""


class Gates(NamedTuple):
    """Values of the gates in one step, arrays ``[..., H]`` unless their line says otherwise.

    Attributes:
        sigmoids: ``[..., 3H]``, the gates i, f and o side by side.
        f: the forget gate.
        o: the output gate.
        g: the candidate.
        squashed: ``tanh(normalize(c_t))``, which is ``tanh(c_t)`` for a cell that does not normalize.
    """

    sigmoids: jax.Array
    f: jax.Array
    o: jax.Array
    g: jax.Array
    squashed: jax.Array


def gated_update(
    z: jax.Array, cell: jax.Array, normalize: Callable[[jax.Array], jax.Array] = lambda cell: cell
) -> tuple[Carry, Gates]:
    """The LSTM's equations after the products (Hochreiter & Schmidhuber 1997; Gers et al. 2000; lecture: LSTM)

        i, f, o = sigma(z_t),    g = tanh(z_t)
        c_t = f * c_{t-1} + i * g,    h_t = o * tanh(normalize(c_t))

    Args:
        z: pre-activations ``z_t [..., 4H]``, in the order i, f, o, g; each gate has its own H columns.
        cell: ``c_{t-1} [..., H]``.
        normalize: a function that is applied to c_t before its tanh; the default changes nothing.

    Returns:
        The pair of the new carry ``(c_t, h_t)``, each ``[..., H]``, and the values of the gates.
    """
    z_gates, z_candidate = jnp.split(z, [3 * cell.shape[-1]], axis=-1)
    sigmoids, g = jax.nn.sigmoid(z_gates), jnp.tanh(z_candidate)
    i, f, o = jnp.split(sigmoids, 3, axis=-1)
    cell = f * cell + i * g
    squashed = jnp.tanh(normalize(cell))
    return (cell, o * squashed), Gates(sigmoids, f, o, g, squashed)


class Saved(NamedTuple):
    """What `Lstm.differential` needs from a step: ``h_{t-1}`` and slopes.

    The z of a gate is its pre-activation, the argument of its sigmoid or tanh.

    Attributes:
        before: ``h_{t-1} [B, H]``, after dropout.
        gate_slopes: ``[B, 4H]``, in the order i, f, o, g: the slope of c_t in the z of i, f and g, of h_t in that
            of o.
        forget: ``[B, H]``, the slope of c_t in c_{t-1}.
        cell_slope: ``[B, H]``, the slope of h_t in c_t.
    """

    before: jax.Array
    gate_slopes: jax.Array
    forget: jax.Array
    cell_slope: jax.Array


class Lstm(NamedTuple):
    """The LSTM as `recurrence.Equations`: `gated_update` of ``z_t = x_t W + h_{t-1} U + b``.

    The gates stand side by side in W ``[F, 4H]``, U ``[H, 4H]`` and b ``[4H]``, in the order i, f, o, g.
    """

    def step(
        self, weights: Kernels, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Carry, Saved]:
        cell, before = carry
        before = dropped(before, mask)
        carry, gates = gated_update(pre_activations(weights, inputs, before), cell)
        slopes = gate_slopes(gates, cell)
        return carry, Saved(before, slopes, gates.f, gates.o * (1 - gates.squashed * gates.squashed))

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


def gate_slopes(gates: Gates, cell: jax.Array) -> jax.Array:
    """Each gate's slope in its z, times what the gate multiplies, ``[..., 4H]``, in the order i, f, o, g.

    One pass over all four gates is the fastest way.

    Args:
        gates: the values of the gates.
        cell: ``c_{t-1} [..., H]``.
    """
    sigmoids, g = gates.sigmoids, gates.g
    i = sigmoids[..., : g.shape[-1]]
    values = jnp.concatenate([sigmoids, g], axis=-1)
    is_tanh = jnp.arange(values.shape[-1]) >= sigmoids.shape[-1]
    slopes = jnp.where(is_tanh, 1 - values * values, values * (1 - values))
    return slopes * jnp.concatenate([g, cell, gates.squashed, i], axis=-1)
