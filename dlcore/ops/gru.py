"""The equations of the gated recurrent unit: the lecture's form, and the form that cuDNN and torch compute."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import add_bias
from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed

GATES = ("update", "reset")
"""Names of z and r, in the order of the kernels."""
Product: TypeAlias = Callable[[jax.Array], jax.Array]


def gates_and_candidate(
    drive: jax.Array, hidden: jax.Array, gate_product: Product, candidate_product: Product
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The values of the GRU's gates, with the reset before the product (Cho et al. 2014, arXiv 1406.1078; lecture: GRU)

        z, r = sigma(D_zr + h_{t-1} U_zr),    g = tanh(D_g + (r * h_{t-1}) U_g)

    Args:
        drive: ``D = x_t W + b``, ``[..., 3H]``, in the order z, r, g.
        hidden: ``h_{t-1} [..., H]``.
        gate_product: a function that multiplies by ``U_zr``: ``[..., H] -> [..., 2H]``.
        candidate_product: a function that multiplies by ``U_g``: ``[..., H] -> [..., H]``.

    Returns:
        The tuple z, r, g, each ``[..., H]``.
    """
    gates, candidate = split_candidate(drive)
    z, r = jnp.split(jax.nn.sigmoid(gates + gate_product(hidden)), 2, axis=-1)
    return z, r, jnp.tanh(candidate + candidate_product(r * hidden))


def interpolate(z: jax.Array, hidden: jax.Array, g: jax.Array) -> jax.Array:
    """The GRU's new state ``h_t = z * h_{t-1} + (1 - z) * g``; all arrays are ``[..., H]``."""
    return z * hidden + (1 - z) * g


def split_candidate(gates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cuts ``[..., 3H]``, in the order z, r, g, into the part of z and r ``[..., 2H]`` and that of g ``[..., H]``."""
    start = 2 * gates.shape[-1] // 3
    return gates[..., :start], gates[..., start:]


class Saved(NamedTuple):
    """What `Gru.differential` needs from a step; arrays ``[B, H]`` unless their line says otherwise.

    The z of a gate is its pre-activation, the argument of its sigmoid or tanh.

    Attributes:
        before: ``h_{t-1}``, after dropout.
        reset: the reset gate r_t.
        update: the update gate z_t, which is the slope of h_t in h_{t-1} if the gates are constant.
        gate_slopes: ``[B, 2H]``, the slope of h_t in the update gate's z, and the slope of r times what r multiplies
            in the reset gate's z.
        candidate_slope: the slope of h_t in the z of g.
    """

    before: jax.Array
    reset: jax.Array
    update: jax.Array
    gate_slopes: jax.Array
    candidate_slope: jax.Array


class Gru(NamedTuple):
    """The GRU as `recurrence.Equations`, with z, r, g side by side in W, U and b:

        z = sigma(x_t W_z + h_{t-1} U_z + b_z)
        r = sigma(x_t W_r + h_{t-1} U_r + b_r)
        g = tanh(x_t W_g + (r * h_{t-1}) U_g + b_g)            reset "before" the product: the lecture's
        g = tanh(x_t W_g + b_g + r * (h_{t-1} U_g + b_Ug))     reset "after" the product: cuDNN's and torch's
        h_t = z * h_{t-1} + (1 - z) * g

    Attributes:
        reset: "before" or "after": where r multiplies, before or after the product with U_g.
    """

    reset: Literal["before", "after"] = "before"

    def step(
        self, weights: Kernels, carry: jax.Array, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Saved]:
        before = dropped(carry, mask)
        gate_kernel, candidate_kernel = split_candidate(weights.recurrent_kernel)
        drive = pre_activations(weights._replace(recurrent_kernel=None), inputs, before)
        if self.reset == "before":
            meets_reset = before
            z, r, g = gates_and_candidate(
                drive, before, lambda h: h @ gate_kernel, lambda h: h @ candidate_kernel
            )
        else:
            z, r, g, meets_reset = self._reset_after(weights, drive, before)
        slopes = jnp.concatenate([(carry - g) * z * (1 - z), meets_reset * r * (1 - r)], axis=-1)
        return interpolate(z, carry, g), Saved(before, r, z, slopes, (1 - z) * (1 - g * g))

    def hidden(self, carry: jax.Array) -> jax.Array:
        return carry

    def drive(self, weights: Kernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        gate_kernel, candidate_kernel = split_candidate(weights.recurrent_kernel)
        if self.reset == "before":
            candidate = (saved.reset * saved.before) @ candidate_kernel
        else:
            candidate = saved.reset * add_bias(saved.before @ candidate_kernel, weights.recurrent_bias)
        fed_back = jnp.concatenate([saved.before @ gate_kernel, candidate], axis=-1)
        return pre_activations(weights._replace(recurrent_kernel=None), inputs, saved.before) + fed_back

    def constants(self, weights: Kernels) -> tuple[jax.Array, ...]:
        if self.reset == "after":
            return (weights.recurrent_kernel.T,)
        return tuple(kernel.T for kernel in split_candidate(weights.recurrent_kernel))

    def differential(
        self, constants: tuple[jax.Array, ...], saved: Saved, carry_dot: jax.Array, drive_dot: jax.Array
    ) -> jax.Array:
        gates, candidate = split_candidate(drive_dot)
        if self.reset == "before":
            z, met = jnp.split(
                saved.gate_slopes * (gates + times_transposed(carry_dot, constants[0])), 2, axis=-1
            )
            candidate = candidate + times_transposed(met + saved.reset * carry_dot, constants[1])
        else:
            fed_back, meets_reset = split_candidate(times_transposed(carry_dot, constants[0]))
            z, met = jnp.split(saved.gate_slopes * (gates + fed_back), 2, axis=-1)
            candidate = candidate + met + saved.reset * meets_reset
        return saved.update * carry_dot + z + saved.candidate_slope * candidate

    def _reset_after(
        self, weights: Kernels, drive: jax.Array, before: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """z, r, g, and ``h_{t-1} U_g + b_Ug``, which the reset gate multiplies."""
        gates, candidate = split_candidate(drive)
        fed_back, meets_reset = split_candidate(before @ weights.recurrent_kernel)
        z, r = jnp.split(jax.nn.sigmoid(gates + fed_back), 2, axis=-1)
        meets_reset = add_bias(meets_reset, weights.recurrent_bias)
        return z, r, jnp.tanh(candidate + r * meets_reset), meets_reset
