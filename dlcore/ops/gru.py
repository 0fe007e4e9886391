"""The gated recurrent unit: the lecture's, and the one that cuDNN and torch compute."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed

GATES = ("update", "reset")
"""Names of z and r, in the order of the kernels."""


class Saved(NamedTuple):
    """What a step leaves for its differential, each ``[B, H]`` unless said otherwise.

    Attributes:
        before: ``h_{t-1}``. reset: r_t.
        update: z_t, the slope of h_t in h_{t-1}.
        gate_slopes: ``[B, 2H]``, of h_t in the z of the update gate, and of what the reset gate lets through in its z.
        candidate_slope: of h_t in the z of g.
    """

    before: jax.Array
    reset: jax.Array
    update: jax.Array
    gate_slopes: jax.Array
    candidate_slope: jax.Array


class Gru(NamedTuple):
    """The equations (Cho et al. 2014; lecture: GRU), with z, r, g side by side in W, U and b:

    z = sigma(x_t W_z + h_{t-1} U_z + b_z)
    r = sigma(x_t W_r + h_{t-1} U_r + b_r)
    g = tanh(x_t W_g + (r * h_{t-1}) U_g + b_g)            reset "before" the product: the lecture's
    g = tanh(x_t W_g + b_g + r * (h_{t-1} U_g + b_Ug))     reset "after" it: cuDNN's and torch's
    h_t = z * h_{t-1} + (1 - z) * g
    """

    reset: Literal["before", "after"] = "before"

    def step(
        self, weights: Kernels, carry: jax.Array, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Saved]:
        before, (gate_kernel, candidate_kernel) = dropped(carry, mask), self._split(weights.recurrent_kernel)
        gates, candidate = self._split(
            pre_activations(weights._replace(recurrent_kernel=None), inputs, before)
        )
        if self.reset == "before":
            z, r = jnp.split(jax.nn.sigmoid(gates + before @ gate_kernel), 2, axis=-1)
            meets_reset = before
            g = jnp.tanh(candidate + (r * before) @ candidate_kernel)
        else:
            fed_back, meets_reset = self._split(before @ weights.recurrent_kernel)
            z, r = jnp.split(jax.nn.sigmoid(gates + fed_back), 2, axis=-1)
            meets_reset = _plus(meets_reset, weights.recurrent_bias)
            g = jnp.tanh(candidate + r * meets_reset)
        slopes = jnp.concatenate([(carry - g) * z * (1 - z), meets_reset * r * (1 - r)], axis=-1)
        return z * carry + (1 - z) * g, Saved(before, r, z, slopes, (1 - z) * (1 - g * g))

    def hidden(self, carry: jax.Array) -> jax.Array:
        return carry

    def drive(self, weights: Kernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        gate_kernel, candidate_kernel = self._split(weights.recurrent_kernel)
        if self.reset == "before":
            candidate = (saved.reset * saved.before) @ candidate_kernel
        else:
            candidate = saved.reset * _plus(saved.before @ candidate_kernel, weights.recurrent_bias)
        fed_back = jnp.concatenate([saved.before @ gate_kernel, candidate], axis=-1)
        return pre_activations(weights._replace(recurrent_kernel=None), inputs, saved.before) + fed_back

    def constants(self, weights: Kernels) -> tuple[jax.Array, ...]:
        if self.reset == "after":
            return (weights.recurrent_kernel.T,)
        return tuple(kernel.T for kernel in self._split(weights.recurrent_kernel))

    def differential(
        self, constants: tuple[jax.Array, ...], saved: Saved, carry_dot: jax.Array, drive_dot: jax.Array
    ) -> jax.Array:
        gates, candidate = self._split(drive_dot)
        if self.reset == "before":
            z, met = jnp.split(
                saved.gate_slopes * (gates + times_transposed(carry_dot, constants[0])), 2, axis=-1
            )
            candidate = candidate + times_transposed(met + saved.reset * carry_dot, constants[1])
        else:
            fed_back, meets_reset = self._split(times_transposed(carry_dot, constants[0]))
            z, met = jnp.split(saved.gate_slopes * (gates + fed_back), 2, axis=-1)
            candidate = candidate + met + saved.reset * meets_reset
        return saved.update * carry_dot + z + saved.candidate_slope * candidate

    @staticmethod
    def _split(gates: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The update and reset gates' part, and the candidate's."""
        two = 2 * gates.shape[-1] // 3
        return gates[..., :two], gates[..., two:]


def _plus(array: jax.Array, bias: jax.Array | None) -> jax.Array:
    return array if bias is None else array + bias
