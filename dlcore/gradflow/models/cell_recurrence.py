"""Writes a cell that a recurrent layer of dlcore runs as a `Recurrence`, and the loss as a function of its states."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures.recurrence import Recurrence, Tree
from dlcore.gradflow.models.cell_listener import CellCall, CellListener
from dlcore.layers.recurrent.carry import hidden_of, make_carry
from dlcore.layers.recurrent.noise import train_option
from dlcore.layers.recurrent.scan import unbind
from dlcore.ops.arrays import expand_to_rank
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lengths import check_lengths, zero_padding


def cell_recurrence(
    call: Callable[[], jax.Array], index: int, ran: CellCall
) -> tuple[Recurrence, Callable[[Tree], jax.Array]]:
    """What the ``index``-th cell of ``call`` was given, with its batch dimensions flattened into one.

    Returns:
        A pair: the recurrence, in the order in which the cell reads, and the loss as a function of its states.
    """
    cell, reverse = ran.cell, ran.loop.reverse
    time_axis = ran.inputs.ndim - cell.num_feature_axes - 1
    batch, steps = ran.inputs.shape[:time_axis], ran.inputs.shape[time_axis]
    rows, options = math.prod(batch), train_option(cell, False)
    lengths = ran.lengths
    if lengths is not None:
        lengths = check_lengths(lengths, (*batch, steps), len(batch)).reshape(rows)
    carry = ran.initial_carry
    if carry is None:
        carry = make_carry(cell, (*batch, *ran.inputs.shape[time_axis + 1 :]))
    unbound, variables = unbind(cell)

    def flatten_batch(array: jax.Array) -> jax.Array:
        return array.reshape(rows, *array.shape[time_axis:])

    def step(params: Tree, state: Tree, inputs: Tree) -> Tree:
        return unbound.apply({**variables, "params": params}, state, inputs, **options)[0]

    def loss(states: Tree) -> jax.Array:
        hidden = jnp.swapaxes(hidden_of(states)[1:], 0, 1)
        outputs = hidden if lengths is None else zero_padding(hidden, lengths)
        outputs = _in_reading_order(outputs, lengths, reverse)  # twice gives the sequence's order
        last = jax.tree.map(lambda leaf: leaf[-1].reshape(*batch, *leaf.shape[2:]), states)
        return _loss_with_result(call, index, (last, outputs.reshape(*batch, *outputs.shape[1:])))

    inputs = _in_reading_order(flatten_batch(ran.inputs), lengths, reverse)
    initial_state = jax.tree.map(flatten_batch, carry)
    cuts = _cuts(ran.loop, lengths, steps, rows)
    recurrence = Recurrence(
        step, variables["params"], initial_state, jnp.swapaxes(inputs, 0, 1), lengths, cuts
    )
    return recurrence, loss


def _cuts(loop: Loop, lengths: jax.Array | None, steps: int, rows: int) -> jax.Array | None:
    """Where a truncated layer stops the gradient, ``[T, B]`` in the order in which the cell reads; None if nowhere.

    Windows are counted from the start of the sequence also in a reversed layer, which enters each one at its end.
    """
    size, times = loop.truncate, jnp.arange(steps)[:, None]
    if size is None:
        return None
    ends = jnp.full(rows, steps) if lengths is None else lengths
    places = ends - times if loop.reverse else times  # in the sequence; counted from 1 if it is reversed
    return (places % size == 0) & (times > 0) & (times < ends)


def _loss_with_result(call: Callable[[], jax.Array], index: int, result: Any) -> jax.Array:
    """The loss that ``call`` returns if its ``index``-th cell returns this ``(carry, outputs)``."""

    def replace(running: int, _: str, run: Callable[[], Any], __: tuple[Any, ...]) -> Any:
        return result if running == index else run()

    return CellListener(replace).listen(call)


def _in_reading_order(rows: jax.Array, lengths: jax.Array | None, reverse: bool) -> jax.Array:
    """Rows ``[B, T, ...]`` in the order in which the cell reads them.

    A reversed cell reads each row from its last valid step to its first. The padding keeps its place.
    """
    if not reverse:
        return rows
    if lengths is None:
        return jnp.flip(rows, axis=1)
    steps = jnp.arange(rows.shape[1])
    places = jnp.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return jnp.take_along_axis(rows, expand_to_rank(places, rows.ndim), axis=1)
