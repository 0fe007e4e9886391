"""What cells share that go step by step: `Recurrent` scans their step, and JAX derives it.

Their products are more than a matrix's, normalized or convolutional, so they have no fused ``sequence``.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry, check_carry, hidden_of
from dlcore.ops.arrays import check_floats
from dlcore.utils.checks import check_integer

Weights: TypeAlias = dict[str, jax.Array]

WHOLE = slice(None)


class SteppedCell(nn.RNNCellBase):
    """A gated cell whose products are a subclass's own; see `normalized_cells` and `conv_cells`.

    Attributes:
        features: H, the width of the state and of the output.
        use_bias: whether there are biases.
        kernel_init, recurrent_kernel_init, bias_init: of one gate each, whatever their number.
        carry_init: of the state before the first step.
        dtype, param_dtype: as in flax; state and outputs have the dtype too.
    """

    features: int
    _: dataclasses.KW_ONLY
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    recurrent_kernel_init: Initializer = nn.initializers.orthogonal()
    bias_init: Initializer = nn.initializers.zeros
    carry_init: Initializer = nn.initializers.zeros
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    gates: ClassVar[int]
    gate_names: ClassVar[tuple[str, ...]]
    states: ClassVar[int] = 1
    least_features: ClassVar[int] = 1
    layout: ClassVar[str] = "[..., features]"

    def __post_init__(self) -> None:
        check_integer("features", self.features, self.least_features)
        super().__post_init__()

    @property
    def window(self) -> tuple[int, ...]:
        """The spatial extent of the kernels: none."""
        return ()

    @property
    def num_feature_axes(self) -> int:
        return len(self.window) + 1

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """The state before the first step, for inputs ``[..., F]``: ``[..., H]``, of an LSTM ``(c, h)``.

        Raises:
            ValueError: the shape has too few dimensions.
        """
        if len(input_shape) < self.num_feature_axes:
            raise ValueError(
                f"inputs: got shape {tuple(input_shape)}, expected rank {self.num_feature_axes} or more: {self.layout}"
            )
        shape, dtype = (*input_shape[:-1], self.features), self.dtype or self.param_dtype
        if self.states == 1:
            return self.carry_init(rng, shape, dtype)
        return tuple(self.carry_init(key, shape, dtype) for key in jax.random.split(rng, self.states))

    def __call__(self, carry: Carry, inputs: jax.Array) -> tuple[Carry, jax.Array]:
        """One step: ``carry_{t-1}``, ``x_t [..., F]`` -> ``carry_t``, ``h_t [..., H]``.

        Raises:
            ValueError: the carry's or the inputs' shape. TypeError: the inputs are no floating point numbers.
        """
        check_carry("carry", carry, self, inputs.shape)
        carry = self._step(*self._promoted(carry, inputs))
        return carry, hidden_of(carry)

    def gate_values(self, carry: Carry, inputs: jax.Array) -> dict[str, jax.Array]:
        """The gates of the step from this carry by name, each ``[..., H]``."""
        weights, carry, inputs = self._promoted(carry, inputs)
        gates = slice(len(self.gate_names) * self.features)
        fed_back = self._product(weights, "recurrent", hidden_of(carry), gates)
        z = self._drive(weights, inputs)[..., gates] + fed_back
        return dict(zip(self.gate_names, jnp.split(jax.nn.sigmoid(z), len(self.gate_names), -1), strict=True))

    def _promoted(self, carry: Carry, inputs: jax.Array) -> tuple[Weights, Carry, jax.Array]:
        """Weights, carry and inputs in the dtype that all are computed in."""
        check_floats("inputs", inputs)
        weights = self._weights(inputs.shape[-1])
        dtype = self.dtype or jnp.result_type(inputs, *weights.values())
        weights, carry, inputs = jax.tree.map(lambda array: array.astype(dtype), (weights, carry, inputs))
        return weights, carry, inputs

    @nn.compact
    def _weights(self, depth: int) -> Weights:
        return {
            name: self.param(name, init, shape, self.param_dtype)
            for name, (init, shape) in self._parameters(depth).items()
        }

    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """Initializer and shape of every parameter, for inputs of this depth."""
        width = self.gates * self.features
        per_gate = functools.partial(initializers.per_gate, gates=self.gates)
        return {
            "input_kernel": (per_gate(self.kernel_init), (*self.window, depth, width)),
            "recurrent_kernel": (per_gate(self.recurrent_kernel_init), (*self.window, self.features, width)),
        } | ({"bias": (self._bias_init(), (width,))} if self.use_bias else {})

    def _bias_init(self) -> Initializer:
        return initializers.per_gate(self.bias_init, self.gates)

    def _step(self, weights: Weights, carry: Carry, inputs: jax.Array) -> Carry:
        raise NotImplementedError

    def _drive(self, weights: Weights, inputs: jax.Array) -> jax.Array:
        """What the inputs do to all gates, with the bias: ``[..., F] -> [..., G * H]``."""
        driven = self._product(weights, "input", inputs)
        return driven + weights["bias"] if self.use_bias else driven

    def _product(self, weights: Weights, side: str, values: jax.Array, gates: slice = WHOLE) -> jax.Array:
        """The "input" or "recurrent" kernel's product, of all gates or of these places ``gates`` of them."""
        raise NotImplementedError


def lstm_step(
    z: jax.Array, cell: jax.Array, normalize: Callable[[jax.Array], jax.Array] = lambda cell: cell
) -> tuple[jax.Array, jax.Array]:
    """``z_t [..., 4H], c_{t-1} -> c_t = f * c_{t-1} + i * g,  h_t = o * tanh(normalize(c_t))``."""
    i, f, o, g = jnp.split(z, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return cell, jax.nn.sigmoid(o) * jnp.tanh(normalize(cell))


def gru_step(
    driven: jax.Array, hidden: jax.Array, product: Callable[[jax.Array, slice], jax.Array]
) -> jax.Array:
    """``x_t W + b [..., 3H], h_{t-1} -> h_t = z * h_{t-1} + (1 - z) * g``, with r before g's product."""
    two = 2 * hidden.shape[-1]
    update_and_reset = driven[..., :two] + product(hidden, slice(two))
    z, r = jnp.split(jax.nn.sigmoid(update_and_reset), 2, axis=-1)
    g = jnp.tanh(driven[..., two:] + product(r * hidden, slice(two, None)))
    return z * hidden + (1 - z) * g
