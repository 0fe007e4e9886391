"""The recurrences in a model, found while the model runs.

Gradient flow is measured along one cell at a time. This module records what each cell of a model was given, and writes
the model's loss as a function of that cell's states. The model need not be changed: every recurrent layer of dlcore
runs its cells through the method ``run_cell``, to which a `CellListener` listens.

It cannot record a cell that something else runs, such as ``flax.linen.RNN``, `AttentionDecoder` or a loop of the
model's own, nor a layer under a transformation such as ``nn.remat``. `find_unmeasured` names these cells.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.gradflow.measures.recurrence import Recurrence, Tree
from dlcore.gradflow.models.cell_listener import CellCall, CellListener
from dlcore.layers.recurrent.carry import hidden_of, make_carry
from dlcore.layers.recurrent.noise import train_option
from dlcore.layers.recurrent.scan import unbind
from dlcore.ops.arrays import expand_to_rank
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lengths import check_lengths, zero_padding
from dlcore.utils.checks import check_callable


class ModelRecurrence(NamedTuple):
    """One cell of a model over one sequence.

    Attributes:
        name: the cell's path in the model's parameters, such as ``encoder/cell``. The upper layers of a
            `DeepRecurrent` share a path, so their names contain the layer's index: ``stack/upper/0/layer/cell``. A
            cell that the model runs again has ``#2`` after its name, then ``#3``.
        cell: the cell, unbound.
        recurrence: the cell's step, parameters, initial state, inputs and lengths. The inputs of a reversed cell are
            in the order in which the cell reads them: time is always the cell's own. It is cut where the layer's
            ``truncate`` stops the gradient.
        loss: the model's loss as a function of the cell's states ``[T + 1, B, ...]``, as `state_cotangents` takes it.
        reverse: True if the cell reads the sequence from its end to its beginning.
        truncate: the layer's ``truncate``, the number of steps in a window; the gradient has no lag that is longer than
            one step less. None: it has all lags.
    """

    name: str
    cell: nn.RNNCellBase
    recurrence: Recurrence
    loss: Callable[[Tree], jax.Array]
    reverse: bool
    truncate: int | None = None


def find_recurrences(call: Callable[[], jax.Array]) -> list[ModelRecurrence]:
    """Finds every cell that a recurrent layer runs over a sequence in ``call``, in the order in which they run.

    The loss of each recurrence contains everything that comes after the cell, such as the layers above it. The
    parameter gradients of all recurrences are therefore those of the whole model; those of a cell that runs several
    times add up to it. Put this call and the measures of what it finds under one ``jax.jit``.

    A warning names the cells that it cannot measure, see `find_unmeasured`.

    Args:
        call: runs the model without dropout and returns a scalar loss. It must run the same model at every call.

    Returns:
        A list of one `ModelRecurrence` for each run of a cell; an empty list if there is none.

    Raises:
        TypeError: call is not a function.
    """
    check_callable("call", call, "lambda: loss(params)")
    found: list[ModelRecurrence] = []
    uses: Counter[str] = Counter()

    def record(index: int, name: str, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        uses[name] += 1
        again = f"#{uses[name]}" if uses[name] > 1 else ""
        found.append(_model_recurrence(call, index, name + again, CellCall(*arguments)))
        return run()

    listener = CellListener(record)
    listener.listen(call)
    if listener.unmeasured:
        warnings.warn(f"gradient flow is not measured along {', '.join(listener.unmeasured)}", stacklevel=2)
    return found


def find_unmeasured(call: Callable[[], jax.Array]) -> list[str]:
    """Names the cells in ``call`` along which gradient flow is not measured.

    These are cells that no recurrent layer of dlcore runs, and cells of layers under a transformation such as
    ``nn.remat``, ``nn.jit``, ``nn.vmap`` or ``nn.scan``. It does not see a recurrence without a flax cell, nor a layer
    under ``nn.jit`` that JAX has traced before.

    Args:
        call: as in `find_recurrences`; it is only traced.

    Returns:
        A list of texts, each with a path in the model's parameters, the cell's class and the reason; an empty list if
        all cells are measured.

    Raises:
        TypeError: call is not a function.
    """
    check_callable("call", call, "lambda: loss(params)")
    unmeasured: list[str] = []

    def trace() -> None:
        listener = CellListener(lambda index, name, run, arguments: run())
        listener.listen(call)
        unmeasured.extend(listener.unmeasured)

    jax.eval_shape(trace)
    return unmeasured


def _model_recurrence(call: Callable[[], jax.Array], index: int, name: str, ran: CellCall) -> ModelRecurrence:
    """What the ``index``-th cell of ``call`` was given, with its batch dimensions flattened into one."""
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
    return ModelRecurrence(name, unbound, recurrence, loss, reverse, ran.loop.truncate)


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
