"""Recurrent cells with layer normalization of what goes into their gates."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Initializer
from jax import lax

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry
from dlcore.layers.recurrent.stepped import WHOLE, SteppedCell, Weights, gru_step, lstm_step
from dlcore.ops.gru import GATES as GRU_GATES
from dlcore.ops.lstm import GATES as LSTM_GATES


class LayerNormCell(SteppedCell):
    """What cells with layer normalization share.

    Attributes:
        scale_init: of the factors of what is normalized.
        epsilon: what is added to a variance.
    """

    _: dataclasses.KW_ONLY
    scale_init: Initializer = nn.initializers.ones
    epsilon: float = 1e-5

    least_features: ClassVar[int] = 2  # one unit, normalized, is always 0

    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        scale = (self.scale_init, (self.gates * self.features,))
        return super()._parameters(depth) | {"input_scale": scale, "recurrent_scale": scale}

    def _product(self, weights: Weights, side: str, values: jax.Array, gates: slice = WHOLE) -> jax.Array:
        product = values @ weights[f"{side}_kernel"][:, gates]
        gate = product.reshape(*product.shape[:-1], product.shape[-1] // self.features, self.features)
        return layer_norm(gate, self.epsilon).reshape(product.shape) * weights[f"{side}_scale"][gates]


class LayerNormLSTMCell(LayerNormCell):
    """The LSTM with layer normalization (Ba, Kiros & Hinton 2016, arXiv 1607.06450, eqs 20-22)

        i, f, o = sigma(z_t),  g = tanh(z_t),    z_t = LN(x_t W) * s_W + LN(h_{t-1} U) * s_U + b
        c_t = f * c_{t-1} + i * g,    h_t = o * tanh(LN(c_t) * s_c + b_c)

    where ``LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon)`` over the H units of each gate on its own (the authors'
    code takes all gates as one). The gates lie in the order i, f, o, g; the carry is ``(c, h)``. Parameters are those
    of `LSTMCell` and ``input_scale [4H]``, ``recurrent_scale [4H]``, ``cell_scale [H]`` and ``cell_bias [H]``; b is
    the sum of the paper's biases.

    LN takes away the size of ``x_t W``: of a single input feature little more than the sign is left, so give such a
    signal a layer of features first.

    Attributes:
        forget_bias: where the forget gate's bias starts (Jozefowicz et al. 2015).

    Raises:
        ValueError: features below 2, as one unit normalized is always 0. TypeError: features is no integer.

    >>> cell = LayerNormLSTMCell(features=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> variables = cell.init(jax.random.key(0), carry, jnp.ones((2, 5)))
    >>> {name: leaf.shape for name, leaf in variables["params"].items() if "kernel" not in name}
    {'bias': (12,), 'input_scale': (12,), 'recurrent_scale': (12,), 'cell_scale': (3,), 'cell_bias': (3,)}
    """

    forget_bias: float = 1.0

    gates: ClassVar[int] = 4
    gate_names: ClassVar[tuple[str, ...]] = LSTM_GATES
    states: ClassVar[int] = 2

    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth) | {"cell_scale": (self.scale_init, (self.features,))}
        return parameters | ({"cell_bias": (self.bias_init, (self.features,))} if self.use_bias else {})

    def _bias_init(self) -> Initializer:
        return initializers.with_gate(self.bias_init, self.gates, 1, self.forget_bias)

    def _step(self, weights: Weights, carry: Carry, inputs: jax.Array) -> Carry:
        cell, hidden = carry

        def normalize(cell: jax.Array) -> jax.Array:
            scaled = layer_norm(cell, self.epsilon) * weights["cell_scale"]
            return scaled + weights["cell_bias"] if self.use_bias else scaled

        z = self._drive(weights, inputs) + self._product(weights, "recurrent", hidden)
        return lstm_step(z, cell, normalize)


class LayerNormGRUCell(LayerNormCell):
    """The GRU with layer normalization, after Ba, Kiros & Hinton 2016, arXiv 1607.06450

        z = sigma(LN(x_t W_z) * s_Wz + LN(h_{t-1} U_z) * s_Uz + b_z),    r likewise
        g = tanh(LN(x_t W_g) * s_Wg + LN((r * h_{t-1}) U_g) * s_Ug + b_g),    h_t = z * h_{t-1} + (1 - z) * g

    with LN, scales, and errors as in `LayerNormLSTMCell`. The gates lie in the order z, r, g; the reset comes before
    the product, as in the lecture's GRU (the authors' code resets after it).

    >>> cell = LayerNormGRUCell(features=3)
    >>> carry, outputs = cell.init_with_output(jax.random.key(0), jnp.zeros((2, 3)), jnp.ones((2, 5)))[0]
    >>> outputs.shape
    (2, 3)
    """

    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = GRU_GATES

    def _step(self, weights: Weights, carry: Carry, inputs: jax.Array) -> Carry:
        product = functools.partial(self._product, weights, "recurrent")
        return gru_step(self._drive(weights, inputs), carry, product)


def layer_norm(values: jax.Array, epsilon: float) -> jax.Array:
    """``(a - mean(a)) / sqrt(var(a) + epsilon)`` over the last dimension.

    Computed in float32 at least, as bfloat16 has too few digits for means; the result has the dtype of ``values``.

    >>> layer_norm(jnp.array([1.0, 3.0]), 0.0).tolist()
    [-1.0, 1.0]
    """
    exact = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    centered = exact - exact.mean(axis=-1, keepdims=True)
    variance = jnp.square(centered).mean(axis=-1, keepdims=True)
    return (centered * lax.rsqrt(variance + epsilon)).astype(values.dtype)
