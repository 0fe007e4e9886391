"""The equation of the lecture's plain recurrent network, and of the network that adds to its state."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import check_floats
from dlcore.ops.recurrence import Kernels, dropped, pre_activations, times_transposed


class Saved(NamedTuple):
    """What `Rnn.differential` needs from a step, arrays ``[B, H]``.

    Attributes:
        before: ``h_{t-1}``, after dropout.
        slope: ``f'(z_t)``, the derivative of the activation.
    """

    before: jax.Array
    slope: jax.Array


class Rnn(NamedTuple):
    """The equation (Elman 1990; lecture: inclusion of feedback, identity-RNN) as `recurrence.Equations`:

        h_t = f(x_t W + h_{t-1} U + b),    or, residual,    h_t = h_{t-1} + f(x_t W + h_{t-1} U + b)

    If the recurrent kernel U is None, its term is absent. The residual form then has ``dh_t / dh_{t-1} = 1``.
    `differential` needs an f that acts on each element by itself (`ops.elementwise.is_elementwise`); `step` does not.

    Attributes:
        activation: f, from ``z_t [B, H]`` to floating point numbers of the same shape.
        residual: True for the second equation, which adds ``h_{t-1}``.
    """

    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    residual: bool = False

    def step(
        self, weights: Kernels, carry: jax.Array, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Saved]:
        before = dropped(carry, mask)
        change, transposed = jax.vjp(self.activate, pre_activations(weights, inputs, before))
        (slope,) = transposed(jnp.ones_like(change))
        hidden = carry + change if self.residual else change
        return hidden, Saved(before, slope)

    def activate(self, z: jax.Array) -> jax.Array:
        """``f(z)`` in the dtype of z.

        Raises:
            ValueError: f gives another shape.
            TypeError: f gives no floating point numbers.
        """
        values = self.activation(z)
        if jnp.shape(values) != z.shape:
            raise ValueError(
                f"activation: got values of shape {jnp.shape(values)} for {z.shape}, expected the same"
            )
        check_floats("activation", values)
        return values.astype(z.dtype)

    def hidden(self, carry: jax.Array) -> jax.Array:
        return carry

    def drive(self, weights: Kernels, inputs: jax.Array, saved: Saved) -> jax.Array:
        return pre_activations(weights, inputs, saved.before)

    def constants(self, weights: Kernels) -> jax.Array | None:
        return None if weights.recurrent_kernel is None else weights.recurrent_kernel.T

    def differential(
        self, constants: jax.Array | None, saved: Saved, carry_dot: jax.Array, drive_dot: jax.Array
    ) -> jax.Array:
        z = drive_dot if constants is None else drive_dot + times_transposed(carry_dot, constants)
        return carry_dot + saved.slope * z if self.residual else saved.slope * z
