"""Recurrent layers: a cell over a whole sequence, in one direction or in both.

    carry, outputs = layer(inputs, lengths=None, initial_carry=None)

Inputs are ``[*batch, T, F]`` with any number of batch dimensions, also none. With ``lengths [*batch]`` a row gives
what it gives without its padding: outputs behind its end are exactly 0, the carry is that of its own last step (of
a row of length 0 the initial one), and nothing in the padding, NaN included, reaches a value or a gradient.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.recurrent.carry import Carry, check_carry, describe_carry, hidden_of, make_carry
from dlcore.layers.recurrent.noise import train_option
from dlcore.ops import recurrence
from dlcore.ops.arrays import check_floats
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lengths import check_lengths
from dlcore.utils.checks import check_integer

CellStep: TypeAlias = Callable[[Carry, jax.Array, Any], tuple[Carry, Any]]
"""``carry_{t-1}, x_t, t -> carry_t, y_t``."""
Merge: TypeAlias = Literal["concat", "sum", "mean", "product"]

MERGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": jnp.add,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "product": jnp.multiply,
}


class RunsCells(nn.Module):
    """A layer that runs cells over sequences, all of them through one method.

    Whoever wants to know what the cells of a model go through listens there (`flax.linen.intercept_methods`), as
    `gradflow.chains` does.
    """

    def run_cell(
        self,
        cell: nn.RNNCellBase,
        inputs: jax.Array,
        lengths: jax.Array | None,
        initial_carry: Carry | None,
        loop: Loop,
        train: bool | None,
    ) -> tuple[Carry, jax.Array]:
        """A bound cell over a sequence: see `run_cell`."""
        return scan_cell(cell, inputs, lengths, initial_carry, loop, train)


class Recurrent(RunsCells):
    """A cell over a sequence (lecture: unrolled RNN): ``carry, outputs = layer(inputs, lengths, initial_carry)``.

    Attributes:
        cell: one of ours, or any other ``flax.linen.RNNCellBase``.
        reverse: goes from each row's last step to its first; outputs stay at the place of their inputs.
        time_chunk: keeps the state only every so many steps, and computes the others again for the gradient
            (rematerialization): less memory, the same numbers.
        truncate: ends the gradient's way back after every so many steps (truncated BPTT); the outputs are the same.
        unroll: steps in one iteration of the compiled loop; of two, the state is copied half as often.

    >>> from dlcore.layers.cells import GRUCell
    >>> layer = Recurrent(GRUCell(features=4))
    >>> inputs, lengths = jnp.ones((3, 5, 2)), jnp.array([5, 2, 0])
    >>> (carry, outputs), variables = layer.init_with_output(jax.random.key(0), inputs, lengths)
    >>> carry.shape, outputs.shape, (outputs[:, :, 0] != 0).sum(axis=1).tolist()
    ((3, 4), (3, 5, 4), [5, 2, 0])
    """

    cell: nn.RNNCellBase
    reverse: bool = False
    time_chunk: int | None = None
    truncate: int | None = None
    unroll: int = 2

    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        initial_carry: Carry | None = None,
        *,
        train: bool | None = None,
    ) -> tuple[Carry, jax.Array]:
        """``[*batch, T, F]`` -> the carry after each row's last step, and ``[*batch, T, H]``.

        Args:
            inputs: floating point numbers.
            lengths: ``[*batch]`` integers, how many steps are a row's own. Values outside 0..T raise; under
                ``jax.jit``, where they are unknown, they are taken as 0 or T.
            initial_carry: what the cell's ``initialize_carry`` makes; None is that.
            train: whether a cell with dropout or zoneout draws, unless the cell has been told.

        Raises:
            ValueError, TypeError: something does not fit; the message says what was expected.
        """
        loop = make_loop(self.reverse, self.unroll, self.time_chunk, self.truncate)
        return self.run_cell(self.cell, inputs, lengths, initial_carry, loop, train)

    def step(self, carry: Carry, inputs: jax.Array, *, train: bool | None = None) -> tuple[Carry, jax.Array]:
        """One step with the same parameters: ``[*batch, F]`` -> carry, ``[*batch, H]``."""
        return self.cell(carry, inputs, **train_option(self.cell, train))

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of a carry, ``[*batch, H]``: what the layer put out in each row's last step."""
        return hidden_of(carry)

    @nn.nowrap
    def initialize_carry(self, inputs: tuple[int, ...]) -> Carry:
        """The state before the first step, for inputs of this shape ``[*batch, T, F]``."""
        return make_carry(self.cell, _step_shape(self.cell, inputs))


class Bidirectional(RunsCells):
    """Two cells over a sequence, one from each end (Schuster & Paliwal 1997; lecture: bidirectional RNN).

    The carry is ``(forward's, backward's)``. Either cell begins at its own end of each row.

    Attributes:
        forward, backward: cells; the second one goes from each row's last step to its first.
        merge: how a step's two outputs become one: "concat" ``[..., 2H]``, "sum", "mean" or "product".
        time_chunk, truncate, unroll: as in `Recurrent`.
    """

    forward: nn.RNNCellBase
    backward: nn.RNNCellBase
    merge: Merge = "concat"
    time_chunk: int | None = None
    truncate: int | None = None
    unroll: int = 2

    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        initial_carry: Carry | None = None,
        *,
        train: bool | None = None,
    ) -> tuple[Carry, jax.Array]:
        """``[*batch, T, F]`` -> both carries, and ``[*batch, T, 2H]`` or ``[*batch, T, H]``; see `Recurrent`."""
        if self.merge not in MERGES:
            raise ValueError(f"merge: got {self.merge!r}, expected one of {', '.join(MERGES)}")
        if initial_carry is None:
            initial_carry = (None, None)
        elif not isinstance(initial_carry, tuple) or len(initial_carry) != 2:
            raise ValueError(
                f"initial_carry: got {describe_carry(initial_carry)}, expected a pair: of the forward and of the "
                "backward cell"
            )
        both, outputs = zip(
            *(
                self.run_cell(cell, inputs, lengths, carry, self._loop(reverse), train)
                for cell, carry, reverse in (
                    (self.forward, initial_carry[0], False),
                    (self.backward, initial_carry[1], True),
                )
            ),
            strict=True,
        )
        if self.merge != "concat" and outputs[0].shape != outputs[1].shape:
            raise ValueError(
                f"merge: got {self.merge!r} for outputs of shapes {outputs[0].shape} and {outputs[1].shape}, expected "
                'cells of equal features, or "concat"'
            )
        return both, MERGES[self.merge](*outputs)

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of both carries, merged: each direction's after its own last step, the row's last and first one."""
        return MERGES[self.merge](*map(hidden_of, carry))

    @nn.nowrap
    def initialize_carry(self, inputs: tuple[int, ...]) -> Carry:
        """The states before the first steps, for inputs of this shape ``[*batch, T, F]``."""
        return tuple(make_carry(cell, _step_shape(cell, inputs)) for cell in (self.forward, self.backward))

    def _loop(self, reverse: bool) -> Loop:
        return make_loop(reverse, self.unroll, self.time_chunk, self.truncate)


def scan_cell(
    cell: nn.RNNCellBase,
    inputs: jax.Array,
    lengths: jax.Array | None,
    initial_carry: Carry | None,
    loop: Loop,
    train: bool | None,
) -> tuple[Carry, jax.Array]:
    """A bound cell over a sequence: the layout, the checks and the mask that all recurrent layers share."""
    _check_cell(cell)
    check_floats("inputs", inputs)
    rank = inputs.ndim - cell.num_feature_axes - 1
    if rank < 0:
        raise ValueError(
            f"inputs: got shape {inputs.shape}, expected "
            f"[*batch, T, {'*spatial, ' if cell.num_feature_axes > 1 else ''}"
            "features]"
        )
    batch = inputs.shape[:rank]
    if lengths is not None:
        check_lengths(lengths, inputs.shape, rank)
        lengths = lengths.reshape(math.prod(batch))
    step_shape = _step_shape(cell, inputs.shape)
    if initial_carry is None:
        initial_carry = make_carry(cell, step_shape)
    else:
        check_carry("initial_carry", initial_carry, cell, step_shape)

    def flat(array: jax.Array) -> jax.Array:
        return array.reshape(math.prod(batch), *array.shape[rank:])

    run = cell.sequence if hasattr(cell, "sequence") else functools.partial(_scan_cell, cell)
    carry, outputs = run(jax.tree.map(flat, initial_carry), flat(inputs), lengths, loop, train)
    return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), (carry, outputs))


def _scan_cell(
    cell: nn.RNNCellBase,
    carry: Carry,
    inputs: jax.Array,
    lengths: jax.Array | None,
    loop: Loop,
    train: bool | None,
) -> tuple[Carry, jax.Array]:
    """Any cell's own step under the scan of `ops`."""
    first = inputs[:, 0] if inputs.shape[1] else jnp.zeros((len(inputs), *inputs.shape[2:]), inputs.dtype)
    step = pure_step(cell, carry, first, train)
    return recurrence.masked_scan(step, carry, inputs, lengths, loop)


def pure_step(cell: nn.RNNCellBase, carry: Carry, inputs: jax.Array, train: bool | None) -> CellStep:
    """A bound cell's step as a pure function of its variables; carry and inputs are what it is initialized with."""
    options = train_option(cell, train)
    if cell.is_initializing():
        cell(carry, inputs, **options)
    variables, unbound = cell.variables, cell.clone(parent=None, name=None)
    key = cell.make_rng("dropout") if cell.has_rng("dropout") else None

    def step(carry: Carry, inputs: jax.Array, number: jax.Array | int) -> tuple[Carry, jax.Array]:
        rngs = None if key is None else {"dropout": jax.random.fold_in(key, number)}
        stepped: Any = unbound.apply(variables, carry, inputs, **options, rngs=rngs)
        return stepped

    return step


def make_loop(reverse: bool, unroll: int, time_chunk: int | None, truncate: int | None) -> Loop:
    """The checked loop; ValueError where a number of steps is below 1."""
    check_integer("unroll", unroll)
    for name, steps in (("time_chunk", time_chunk), ("truncate", truncate)):
        if steps is not None:
            check_integer(name, steps)
    return Loop(reverse, unroll, time_chunk, truncate)


def _step_shape(cell: nn.RNNCellBase, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one step of inputs ``[*batch, T, *features]``."""
    time = len(inputs) - cell.num_feature_axes - 1
    return (*inputs[:time], *inputs[time + 1 :])


def _check_cell(cell: Any) -> None:
    if not isinstance(cell, nn.RNNCellBase):
        raise TypeError(
            f"cell: got {type(cell).__name__}, expected a cell such as dl.GRUCell(features=64); a layer takes cells, "
            "and knows the direction itself"
        )
