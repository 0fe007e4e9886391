"""Recurrent layers: a cell over a whole sequence, in one direction or in both.

    carry, outputs = layer(inputs, lengths=None, initial_carry=None, *, mask=None, train=False)

Over vectors, inputs are ``[*batch, T, F]`` with any number of batch dimensions, also none; for a convolutional cell
``[*batch, T, *spatial, C]``. With ``lengths [*batch]`` a padded row gives what it gives without its padding: outputs
after its last valid step are exactly 0, and the carry is that of its last valid step (the initial carry for a row of
length 0). Nothing in the padding, not even NaN, reaches a value or a gradient. ``mask [*batch, T]`` says the same of
single steps, where padding comes first or rows have gaps.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.recurrent.carry import Carry, Lengths, describe_carry, hidden_of, make_carry
from dlcore.layers.recurrent.noise import train_option
from dlcore.layers.recurrent.scan import CellLayer, over_valid_steps, step_shape
from dlcore.ops.chunked_scan import Loop

Merge: TypeAlias = Literal["concat", "sum", "mean", "product"]

MERGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": jnp.add,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "product": jnp.multiply,
}


class Recurrent(CellLayer):
    """A cell over a sequence (lecture: unrolled RNN): ``carry, outputs = layer(inputs, lengths, initial_carry)``.

    Attributes:
        cell: a cell of dlcore, or any other ``flax.linen.RNNCellBase``.
        reverse: True runs from each row's last step to its first. An output stays at the time step of its input.
        time_chunk: for the gradient, only the state after every so many steps is kept, and the states in between are
            computed again (rematerialization): less memory, the same numbers. None keeps all states.
        truncate: number of steps in one window; no gradient passes from one window to an earlier one (truncated
            BPTT). The outputs are the same. None means that the gradient passes through all steps.
        unroll: number of steps in one iteration of the compiled loop. With two, the state is copied half as often.

    >>> from dlcore.layers.recurrent.cells import GRUCell
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
        lengths: Lengths = None,
        initial_carry: Carry = None,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Runs the cell over sequences.

        Args:
            inputs: ``[*batch, T, F]``, floating point numbers.
            lengths: ``[*batch]`` integers, the number of valid steps of each row, 0 to T; None if all are valid. Under
                ``jax.jit``, where values are not checked, one below 0 counts as 0 and one above T as T.
            initial_carry: the carry before the first step, arrays ``[*batch, H]``; None means that of
                `initialize_carry`.
            mask: ``[*batch, T]`` booleans, False at the steps that do not count, whose inputs may hold anything: they
                leave the carry as it is, and their outputs are exactly 0. ``truncate``, ``time_chunk`` and noise count
                the valid steps alone. With ``lengths``, too, a step must be valid by both. None: all steps count.
            train: True if the cell's dropout and zoneout draw.

        Returns:
            The carry after each row's last valid step (with ``reverse`` after its first step), and the outputs
            ``[*batch, T, H]``.

        Raises:
            ValueError: a shape, a length or a setting does not fit; the message says what was expected.
            TypeError: the inputs, the lengths, the mask or the cell have another type than expected.
        """
        loop = Loop(self.reverse, self.unroll, self.time_chunk, self.truncate)

        def run(inputs: jax.Array, lengths: Lengths) -> tuple[Carry, jax.Array]:
            return self.run_cell(self.cell, inputs, lengths, initial_carry, loop, train)

        return over_valid_steps(run, self.cell, inputs, lengths, mask)

    def step(self, carry: Carry, inputs: jax.Array, *, train: bool = False) -> tuple[Carry, jax.Array]:
        """One step with the same parameters: carry, ``[*batch, F]`` -> the pair of new carry and ``[*batch, H]``."""
        return self.cell(carry, inputs, **train_option(self.cell, train))

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of a carry, ``[*batch, H]``; after a call, each row's output at the last valid step that it ran."""
        return hidden_of(carry)

    @nn.nowrap
    def initialize_carry(self, input_shape: tuple[int, ...]) -> Carry:
        """The state before the first step: the cell's ``carry_init``, by default 0. It has no time dimension.

        Args:
            input_shape: shape of the inputs, ``[*batch, T, F]``.

        Returns:
            The cell's carry: ``[*batch, H]``, or ``(c, h)`` of such arrays for an LSTM.
        """
        return make_carry(self.cell, step_shape(self.cell, input_shape))


class Bidirectional(CellLayer):
    """Two cells over a sequence, one from each end (Schuster & Paliwal 1997; lecture: bidirectional RNN).

    The carry is the pair of the forward cell's and the backward cell's carry. The backward cell starts at each row's
    last step.

    Attributes:
        forward: cell that runs from each row's first step to its last.
        backward: cell that runs from each row's last step to its first.
        merge: how the two outputs of a step become one: "concat" ``[..., 2H]``, "sum", "mean" or "product".
        time_chunk: as in `Recurrent`.
        truncate: as in `Recurrent`.
        unroll: as in `Recurrent`.
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
        lengths: Lengths = None,
        initial_carry: Carry = None,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Runs both cells over inputs ``[*batch, T, F]``. Arguments and errors are those of `Recurrent`.

        Returns:
            The pair of both cells' carries, and the outputs, ``[*batch, T, 2H]`` if concatenated, else
            ``[*batch, T, H]``.
        """
        axes = [cell.num_feature_axes for cell in (self.forward, self.backward)]
        if axes[0] != axes[1]:
            raise ValueError(
                f"backward: got a {type(self.backward).__name__} with {axes[1]} feature axes, expected {axes[0]} as "
                f"the {type(self.forward).__name__} has; 1 is a cell over vectors"
            )
        pair = self._pair(initial_carry)

        def run(inputs: jax.Array, lengths: Lengths) -> tuple[Carry, jax.Array]:
            return self._run_both(inputs, lengths, pair, train)

        return over_valid_steps(run, self.forward, inputs, lengths, mask)

    @nn.nowrap
    def _run_both(
        self, inputs: jax.Array, lengths: Lengths, pair: tuple[Carry, Carry], train: bool
    ) -> tuple[Carry, jax.Array]:
        loops = [Loop(reverse, self.unroll, self.time_chunk, self.truncate) for reverse in (False, True)]
        first, forward = self.run_cell(self.forward, inputs, lengths, pair[0], loops[0], train)
        last, backward = self.run_cell(self.backward, inputs, lengths, pair[1], loops[1], train)
        if self.merge != "concat" and forward.shape != backward.shape:
            raise ValueError(
                f"merge: got {self.merge!r} for outputs of shapes {forward.shape} and {backward.shape}, expected "
                'cells of equal features, or "concat"'
            )
        return (first, last), MERGES[self.merge](forward, backward)

    @nn.nowrap
    def hidden(self, carry: Carry) -> jax.Array:
        """The h of both cells, merged like the outputs: ``[*batch, 2H]`` if concatenated, else ``[*batch, H]``.

        Args:
            carry: the pair of both cells' carries. After a call, the forward cell's is the one after each row's last
                valid step, the backward cell's the one after its first step.
        """
        return MERGES[self.merge](*map(hidden_of, carry))

    @nn.nowrap
    def initialize_carry(self, input_shape: tuple[int, ...]) -> Carry:
        """The pair of the forward and the backward cell's state before its first step, as in `Recurrent`.

        Args:
            input_shape: shape of the inputs, ``[*batch, T, F]``.
        """
        return tuple(
            make_carry(cell, step_shape(cell, input_shape)) for cell in (self.forward, self.backward)
        )

    @nn.nowrap
    def _pair(self, initial_carry: Carry | None) -> tuple[Carry, Carry]:
        if initial_carry is None:
            return None, None
        if not isinstance(initial_carry, tuple) or len(initial_carry) != 2:
            raise ValueError(
                f"initial_carry: got {describe_carry(initial_carry)}, expected a pair: the forward and the backward "
                "cell's carry"
            )
        return initial_carry
