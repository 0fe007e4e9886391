"""Recurrent layers on recurrent layers (lecture: deep RNN)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.normalization import Norm, check_norm, normalize
from dlcore.layers.recurrent.carry import Carry, describe_carry
from dlcore.layers.recurrent.layer import Bidirectional, Merge, Recurrent
from dlcore.layers.recurrent.noise import check_rate
from dlcore.utils.checks import check_integer


class DeepRecurrent(nn.Module):
    """Layers of one kind of cell, each of which reads the outputs of the layer below (lecture: deep RNN).

    ``carry, outputs = stack(inputs, lengths, initial_carry, train=...)``. The carry is that of `Recurrent` or
    `Bidirectional` with a first dimension ``[layers]``. The layers above the first are alike and are compiled once:
    their parameters, under ``upper``, have a first dimension ``[layers - 1]``.

    Attributes:
        cell: the cell of every layer; each layer has its own parameters.
        layers: number of layers.
        bidirectional: True if each layer runs in both directions.
        merge: as in `Bidirectional`.
        norm: normalization between two layers: None, "batch" or "layer".
        dropout: share of the outputs between two layers that training sets to 0, in [0, 1).
        residual: True if a layer above the first adds its input to its output.
        reverse: as in `Recurrent`.
        time_chunk: as in `Recurrent`.
        truncate: as in `Recurrent`.
        unroll: as in `Recurrent`.

    Raises:
        ValueError: layers is below 1, dropout is outside [0, 1), the norm is unknown, or reverse is given with
            bidirectional.
        TypeError: layers is not an integer.

    >>> from dlcore.layers.recurrent.cells import LSTMCell
    >>> stack = DeepRecurrent(LSTMCell(features=4), layers=3, bidirectional=True)
    >>> (carry, outputs), _ = stack.init_with_output(jax.random.key(0), jnp.ones((2, 5, 1)))
    >>> outputs.shape, jax.tree.map(jnp.shape, carry)
    ((2, 5, 8), (((3, 2, 4), (3, 2, 4)), ((3, 2, 4), (3, 2, 4))))
    """

    cell: nn.RNNCellBase
    layers: int
    bidirectional: bool = False
    merge: Merge = "concat"
    norm: Norm | None = None
    dropout: float = 0.0
    residual: bool = False
    reverse: bool = False
    time_chunk: int | None = None
    truncate: int | None = None
    unroll: int = 2

    def __post_init__(self) -> None:
        check_integer("layers", self.layers)
        check_rate("dropout", self.dropout)
        check_norm(self.norm)
        if self.bidirectional and self.reverse:
            raise ValueError(
                "reverse: got True with bidirectional=True, which goes both ways, expected False"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        initial_carry: Carry | None = None,
        *,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """``[*batch, T, F]`` -> the carry ``[layers, *batch, H]`` and the last layer's outputs; see `Recurrent`."""
        if initial_carry is None:
            initial_carry = self.initialize_carry(inputs.shape)
        self._check_layers(initial_carry)
        first_carry = jax.tree.map(lambda array: array[0], initial_carry)
        first = self._layer().clone(parent=self, name="first")
        carry, outputs = first(inputs, lengths, first_carry, train=train)
        carry = jax.tree.map(lambda array: array[None], carry)
        if self.layers > 1:
            upper_carry = jax.tree.map(lambda array: array[1:], initial_carry)
            upper_carry, outputs = self.run_upper(outputs, lengths, upper_carry, train)
            carry = jax.tree.map(lambda *parts: jnp.concatenate(parts), carry, upper_carry)
        return carry, outputs

    def run_upper(
        self, outputs: jax.Array, lengths: jax.Array | None, initial_carry: Carry, train: bool
    ) -> tuple[Carry, jax.Array]:
        """The layers above the first under one scan, which compiles them once."""
        upper = nn.scan(
            _UpperLayer,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=self.layers - 1,
        )(self._layer(), self.norm, self.dropout, self.residual, train, name="upper")
        outputs, carry = upper(outputs, initial_carry, lengths)
        return carry, outputs

    @nn.nowrap
    def upper_layers(self) -> list[Callable[..., tuple[jax.Array, Carry]]]:
        """The layers above the first as a list of functions, which compute what `run_upper` does without dropout.

        Each takes ``outputs, initial_carry, lengths`` and returns its outputs and its carry.
        """
        layer = _UpperLayer(self._layer(), self.norm, self.dropout, self.residual, False, parent=None)
        stacked = {name: tree["upper"] for name, tree in self.variables.items() if "upper" in tree}
        return [
            functools.partial(layer.apply, jax.tree.map(lambda leaf, index=index: leaf[index], stacked))
            for index in range(self.layers - 1)
        ]

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of the last layer's carry; see `Recurrent` and `Bidirectional`."""
        return self._layer().hidden(jax.tree.map(lambda array: array[-1], carry))

    @nn.nowrap
    def initialize_carry(self, inputs: tuple[int, ...]) -> Carry:
        """The state before the first step, ``[layers, *batch, H]``, for inputs of this shape ``[*batch, T, F]``."""
        one = self._layer().initialize_carry(inputs)
        return jax.tree.map(lambda array: jnp.repeat(array[None], self.layers, axis=0), one)

    @nn.nowrap
    def _layer(self) -> Recurrent | Bidirectional:
        """One layer, unbound, with clones of the cell."""
        forward, backward = (self.cell.clone(parent=None, name=None) for _ in range(2))
        windows = (self.time_chunk, self.truncate, self.unroll)
        if self.bidirectional:
            return Bidirectional(forward, backward, self.merge, *windows, parent=None)
        return Recurrent(forward, self.reverse, *windows, parent=None)

    @nn.nowrap
    def _check_layers(self, carry: Carry) -> None:
        if any(jnp.ndim(leaf) < 1 or len(leaf) != self.layers for leaf in jax.tree.leaves(carry)):
            raise ValueError(
                f"initial_carry: got {describe_carry(carry)}, expected a first dimension of {self.layers} layers; "
                "stack.initialize_carry(inputs.shape) makes one"
            )


class _UpperLayer(nn.Module):
    """One layer above the first, after normalization and dropout of the outputs below."""

    layer: nn.Module
    norm: Norm | None
    dropout: float
    residual: bool
    train: bool

    @nn.compact
    def __call__(
        self, outputs: jax.Array, initial_carry: Carry, lengths: jax.Array | None
    ) -> tuple[jax.Array, Carry]:
        inputs = normalize(self.norm, outputs, lengths, train=self.train, name="norm")
        inputs = nn.Dropout(self.dropout, deterministic=not self.train)(inputs)
        carry, above = self.layer(inputs, lengths, initial_carry, train=self.train)
        return (outputs + above if self.residual else above), carry
