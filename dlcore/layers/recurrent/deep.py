"""Stacks of recurrent layers (lecture: deep RNN)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.fields import check_fields
from dlcore.layers.normalization import Norm, normalize
from dlcore.layers.recurrent.carry import Carry, Lengths, describe_carry
from dlcore.layers.recurrent.layer import Bidirectional, Merge, Recurrent
from dlcore.layers.recurrent.noise import check_rate
from dlcore.layers.recurrent.scan import check_inputs, over_valid_steps


class DeepRecurrent(nn.Module):
    """Layers of one kind of cell, each of which reads the outputs of the layer below (lecture: deep RNN).

    ``carry, outputs = stack(inputs, lengths, initial_carry, mask=..., train=...)``. The carry is that of `Recurrent` or
    `Bidirectional`, where each array has one more dimension ``[layers]`` in front. The layers above the first are
    compiled once: their parameters, under ``upper``, have a first dimension ``[layers - 1]``. Those of the first layer
    are under ``first``.

    Attributes:
        cell: the cell of every layer; each layer has its own parameters.
        layers: number of layers.
        bidirectional: True if each layer runs in both directions.
        merge: as in `Bidirectional`.
        norm: normalization between two layers: None, "batch" or "layer".
        dropout: share of the outputs between two layers that training sets to 0, in [0, 1).
        residual: True if a layer above the first adds the outputs of the layer below, before norm and dropout, to its
            own outputs.
        reverse: as in `Recurrent`.
        time_chunk: as in `Recurrent`.
        truncate: as in `Recurrent`.
        unroll: as in `Recurrent`.

    Raises:
        ValueError: a number is below 1, dropout is outside [0, 1), merge or norm is unknown, or reverse is given with
            bidirectional.
        TypeError: a setting has another type than stated here.

    >>> from dlcore.layers.recurrent.cells import LSTMCell
    >>> stack = DeepRecurrent(LSTMCell(features=4), layers=3, bidirectional=True)
    >>> (carry, outputs), _ = jax.eval_shape(stack.init_with_output, jax.random.key(0), jnp.ones((2, 5, 1)))
    >>> outputs.shape, jax.tree.map(lambda part: part.shape, carry)
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
        check_rate("dropout", self.dropout)
        check_fields(self)
        if self.bidirectional and self.reverse:
            raise ValueError(
                "reverse: got True with bidirectional=True, which goes both ways, expected False"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        lengths: Lengths = None,
        initial_carry: Carry = None,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Runs all layers over inputs ``[*batch, T, F]``. Arguments and errors are those of `Recurrent`.

        Returns:
            The whole stack's carry, arrays ``[layers, *batch, H]``, and the last (top) layer's outputs,
            ``[*batch, T, H]`` or merged as in `Bidirectional`.
        """
        check_inputs(self.cell, inputs)
        if initial_carry is None:
            initial_carry = self.initialize_carry(inputs.shape)
        self._check_layers(initial_carry)
        first_carry = jax.tree.map(lambda array: array[0], initial_carry)
        first = self._layer().clone(parent=self, name="first")

        def run(inputs: jax.Array, lengths: Lengths) -> tuple[Carry, jax.Array]:
            carry, outputs = first(inputs, lengths, first_carry, train=train)
            carry = jax.tree.map(lambda array: array[None], carry)
            if self.layers > 1:
                upper_carry = jax.tree.map(lambda array: array[1:], initial_carry)
                upper_carry, outputs = self.run_upper(outputs, lengths, upper_carry, train)
                carry = jax.tree.map(lambda *parts: jnp.concatenate(parts), carry, upper_carry)
            return carry, outputs

        return over_valid_steps(run, self.cell, inputs, lengths, mask)

    def run_upper(
        self, outputs: jax.Array, lengths: jax.Array | None, initial_carry: Carry, train: bool
    ) -> tuple[Carry, jax.Array]:
        """Runs the layers above the first in one scan, which compiles them once.

        Args:
            outputs: the first layer's outputs, ``[*batch, T, H]``.
            lengths: ``[*batch]`` integers, or None.
            initial_carry: the carry of these layers, arrays ``[layers - 1, *batch, H]``.
            train: True if BatchNorm, dropout and zoneout are in training.

        Returns:
            The carry of these layers after the last step, and the last layer's outputs.
        """
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
        """A list of one function for each layer above the first; in sequence they compute what `run_upper` does.

        They compute as in evaluation (``train=False``), with the parameters of the bound stack. Each is called as
        ``function(outputs_below, initial_carry, lengths)``, with one layer's carry, and returns the pair of its
        outputs and its carry.
        """
        layer = _UpperLayer(self._layer(), self.norm, self.dropout, self.residual, False, parent=None)
        stacked = {name: tree["upper"] for name, tree in self.variables.items() if "upper" in tree}
        return [
            functools.partial(layer.apply, jax.tree.map(lambda leaf, index=index: leaf[index], stacked))
            for index in range(self.layers - 1)
        ]

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of the last (top) layer, ``[*batch, H]`` or merged as in `Bidirectional`.

        Args:
            carry: the whole stack's carry, whose arrays begin with ``[layers]``.
        """
        return self._layer().hidden(jax.tree.map(lambda array: array[-1], carry))

    @nn.nowrap
    def initialize_carry(self, input_shape: tuple[int, ...]) -> Carry:
        """The whole stack's carry before the first step, arrays ``[layers, *batch, H]``, equal in all layers.

        It is the cell's ``carry_init``, by default 0. It has no time dimension.

        Args:
            input_shape: shape of the inputs, ``[*batch, T, F]``.
        """
        one = self._layer().initialize_carry(input_shape)
        return jax.tree.map(lambda array: jnp.repeat(array[None], self.layers, axis=0), one)

    @nn.nowrap
    def _layer(self) -> Recurrent | Bidirectional:
        """One layer, unbound, with copies of the cell and of the cells in it."""
        forward, backward = (self.cell.copy(parent=None, name=None) for _ in range(2))
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
