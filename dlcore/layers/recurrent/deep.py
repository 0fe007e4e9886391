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
    """Layers of one kind of cell, each reading the outputs of the one below (lecture: deep RNN).

    ``carry, outputs = stack(inputs, lengths, initial_carry, train=...)``, where the carry is that of `Recurrent` or
    `Bidirectional` with a first dimension ``[layers]``. The layers above the first are alike, and compiled once:
    their parameters, under ``upper``, have a first dimension ``[layers - 1]``.

    Attributes:
        cell: the kind; its settings hold for all layers.
        layers: how many.
        bidirectional: whether each layer goes both ways. merge: as in `Bidirectional`.
        norm: None, "batch" or "layer": what normalizes between two layers.
        dropout: the share of outputs set to 0 between two layers in training, in [0, 1).
        residual: whether a layer above the first adds its input to its output.
        reverse, time_chunk, truncate, unroll: as in `Recurrent`.

    >>> from dlcore.layers.cells import LSTMCell
    >>> stack = DeepRecurrent(LSTMCell(features=4), layers=3, bidirectional=True)
    >>> (carry, outputs), _ = stack.init_with_output(jax.random.key(0), jnp.ones((2, 5, 1)), train=False)
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
        train: bool,
    ) -> tuple[Carry, jax.Array]:
        """``[*batch, T, F]`` -> the carries ``[layers, *batch, H]`` and the last layer's outputs; see `Recurrent`."""
        if initial_carry is None:
            initial_carry = self.initialize_carry(inputs.shape)
        self._check_layers(initial_carry)
        first_carry = jax.tree.map(lambda array: array[0], initial_carry)
        carry, outputs = self._layer().clone(parent=self, name="first")(
            inputs, lengths, first_carry, train=train
        )
        carries = jax.tree.map(lambda array: array[None], carry)
        if self.layers > 1:
            above_carry = jax.tree.map(lambda array: array[1:], initial_carry)
            above, outputs = self.run_upper(outputs, lengths, above_carry, train)
            carries = jax.tree.map(lambda *parts: jnp.concatenate(parts), carries, above)
        return carries, outputs

    def run_upper(
        self, outputs: jax.Array, lengths: jax.Array | None, initial_carry: Carry, train: bool
    ) -> tuple[Carry, jax.Array]:
        """The layers above the first, scanned: compiled once."""
        upper = nn.scan(
            _Between,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast),
            length=self.layers - 1,
        )(self._layer(), self.norm, self.dropout, self.residual, train, name="upper")
        outputs, carries = upper(outputs, initial_carry, lengths)
        return carries, outputs

    @nn.nowrap
    def upper_layers(self) -> list[Callable[..., tuple[jax.Array, Carry]]]:
        """The layers above the first one by one, as `run_upper` runs them without dropout.

        Each takes ``outputs, initial_carry, lengths`` and returns its outputs and its carry.
        """
        between = _Between(self._layer(), self.norm, self.dropout, self.residual, False, parent=None)
        of_upper = {name: tree["upper"] for name, tree in self.variables.items() if "upper" in tree}
        return [
            functools.partial(between.apply, jax.tree.map(lambda leaf, number=number: leaf[number], of_upper))
            for number in range(self.layers - 1)
        ]

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of the last layer's carry; see `Recurrent` and `Bidirectional`."""
        return self._layer().hidden(jax.tree.map(lambda array: array[-1], carry))

    @nn.nowrap
    def initialize_carry(self, inputs: tuple[int, ...]) -> Carry:
        """The states before the first step, for inputs of this shape ``[*batch, T, F]``: ``[layers, *batch, H]``."""
        one = self._layer().initialize_carry(inputs)
        return jax.tree.map(lambda array: jnp.repeat(array[None], self.layers, axis=0), one)

    @nn.nowrap
    def _layer(self) -> Recurrent | Bidirectional:
        """One layer, unbound, with cells of its own."""
        forward, backward = (self.cell.clone(parent=None, name=None) for _ in range(2))
        windows = (self.time_chunk, self.truncate, self.unroll)
        if self.bidirectional:
            return Bidirectional(forward, backward, self.merge, *windows, parent=None)
        return Recurrent(forward, self.reverse, *windows, parent=None)

    def _check_layers(self, carry: Carry) -> None:
        if any(jnp.ndim(leaf) < 1 or len(leaf) != self.layers for leaf in jax.tree.leaves(carry)):
            raise ValueError(
                f"initial_carry: got {describe_carry(carry)}, expected a first dimension of {self.layers} layers; "
                "stack.initialize_carry(inputs.shape) makes one"
            )


class _Between(nn.Module):
    """What lies between two layers, and the upper one of them."""

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
