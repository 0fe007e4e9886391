"""Recurrent cells that normalize the pre-activations of their gates."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Initializer
from jax import lax

from dlcore.layers.recurrent.cell import ALL_GATES, Cell, Weights
from dlcore.layers.recurrent.gates import GRUGates, LSTMGates
from dlcore.ops.arrays import add_bias, at_least_float32, broadcast_weights
from dlcore.utils.checks import check_number


class LayerNormCell(Cell):
    """What cells with layer normalization share: every product is normalized over the H units of each gate and scaled.

    Attributes:
        scale_init: initializer of the factors that multiply normalized values.
        epsilon: number that is added to a variance.
    """

    _: dataclasses.KW_ONLY
    scale_init: Initializer = nn.initializers.ones
    epsilon: float = 1e-5

    min_features: ClassVar[int] = 2  # a single unit, normalized, is always 0

    def __post_init__(self) -> None:
        check_number("epsilon", self.epsilon, "[0, inf)")
        super().__post_init__()

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        scale = (self.scale_init, (self.gates * self.features,))
        return super()._parameters(depth) | {"input_scale": scale, "recurrent_scale": scale}

    @nn.nowrap
    def _product(self, weights: Weights, side: str, values: jax.Array, gates: slice = ALL_GATES) -> jax.Array:
        product = super()._product(weights, side, values, gates)
        by_gate = product.reshape(*product.shape[:-1], product.shape[-1] // self.features, self.features)
        scale = broadcast_weights(weights[f"{side}_scale"][gates], product.shape)
        return layer_norm(by_gate, self.epsilon).reshape(product.shape) * scale


class LayerNormLSTMCell(LSTMGates, LayerNormCell):
    """The LSTM with layer normalization (Ba, Kiros & Hinton 2016, arXiv 1607.06450, eqs 20-22)

        i, f, o = sigma(z_t),  g = tanh(z_t),    z_t = LN(x_t W) * s_W + LN(h_{t-1} U) * s_U + b
        c_t = f * c_{t-1} + i * g,    h_t = o * tanh(LN(c_t) * s_c + b_c)

    where ``LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon)`` over the H units of each gate separately (the authors'
    code normalizes all gates together). Each gate has its own columns of W, U and b, in the order i, f, o, g. The carry
    is ``(c, h)``. The parameters are those of `LSTMCell` and ``input_scale [4H]``, ``recurrent_scale [4H]``,
    ``cell_scale [H]`` and ``cell_bias [H]``; b is the sum of the paper's biases.

    LN removes the size of ``x_t W``. If there is a single input feature, little more than its sign is left: transform
    such a signal by a layer of features first.

    Attributes:
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).

    Raises:
        ValueError: features is below 2, as a single normalized unit is always 0; or as in `Cell`.
        TypeError: features is not an integer.

    >>> cell = LayerNormLSTMCell(features=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> variables = cell.init(jax.random.key(0), carry, jnp.ones((2, 5)))
    >>> {name: leaf.shape for name, leaf in variables["params"].items() if "kernel" not in name}
    {'bias': (12,), 'input_scale': (12,), 'recurrent_scale': (12,), 'cell_scale': (3,), 'cell_bias': (3,)}
    """

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth) | {"cell_scale": (self.scale_init, (self.features,))}
        return parameters | ({"cell_bias": (self.bias_init, (self.features,))} if self.use_bias else {})

    @nn.nowrap
    def _normalized_cell(self, weights: Weights, cell: jax.Array) -> jax.Array:
        scaled = layer_norm(cell, self.epsilon) * broadcast_weights(weights["cell_scale"], cell.shape)
        return add_bias(scaled, weights.get("cell_bias"))


class LayerNormGRUCell(GRUGates, LayerNormCell):
    """The GRU with layer normalization, after Ba, Kiros & Hinton 2016, arXiv 1607.06450

        z = sigma(LN(x_t W_z) * s_Wz + LN(h_{t-1} U_z) * s_Uz + b_z),    r likewise
        g = tanh(LN(x_t W_g) * s_Wg + LN((r * h_{t-1}) U_g) * s_Ug + b_g),    h_t = z * h_{t-1} + (1 - z) * g

    LN, scales and errors are those of `LayerNormLSTMCell`. The gates stand in the order z, r, g. The reset comes
    before the product, as in the lecture's GRU (the authors' code resets after it).

    >>> cell = LayerNormGRUCell(features=3)
    >>> arguments = jax.random.key(0), jnp.zeros((2, 3)), jnp.ones((2, 5))
    >>> (carry, outputs), _ = jax.eval_shape(cell.init_with_output, *arguments)
    >>> outputs.shape
    (2, 3)
    """


def layer_norm(values: jax.Array, epsilon: float) -> jax.Array:
    """Values ``[..., H]``, normalized over the last dimension: ``(a - mean(a)) / sqrt(var(a) + epsilon)``.

    It is computed in float32 at least, as bfloat16 has too few digits for means. The result has the shape and dtype of
    ``values``.

    >>> layer_norm(jnp.array([1.0, 3.0]), 0.0).tolist()
    [-1.0, 1.0]
    """
    wide = at_least_float32(values)
    centered = wide - wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(centered).mean(axis=-1, keepdims=True)
    return (centered * lax.rsqrt(variance + epsilon)).astype(values.dtype)
