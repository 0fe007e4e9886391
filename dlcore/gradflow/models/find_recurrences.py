"""The recurrences in a model, found while the model runs.

Gradient flow is measured along one cell at a time. This module records what each cell of a model was given, and writes
the model's loss as a function of that cell's states. The model need not be changed: every recurrent layer of dlcore
runs its cells through the method ``run_cell``, and `flax.linen.intercept_methods` listens there.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import get_opaque_trace_state

from dlcore.gradflow.measures.recurrence import Recurrence, Tree
from dlcore.layers.recurrent.carry import hidden_of, make_carry
from dlcore.layers.recurrent.deep import DeepRecurrent
from dlcore.layers.recurrent.noise import train_option
from dlcore.layers.recurrent.scan import unbind
from dlcore.ops.arrays import expand_to_rank
from dlcore.ops.lengths import zero_padding


class ModelRecurrence(NamedTuple):
    """One cell of a model over one sequence.

    Attributes:
        name: the cell's path in the model's parameters, such as ``encoder/cell``. The upper layers of a
            `DeepRecurrent` share a path, so their names contain the layer's index: ``stack/upper/0/layer/cell``.
        cell: the cell, unbound.
        recurrence: the cell's step, parameters, initial state, inputs and lengths. The inputs of a reversed cell are
            in the order in which the cell reads them: time is always the cell's own.
        loss: the model's loss as a function of the cell's states ``[T + 1, B, ...]``, as `state_cotangents` takes it.
        reverse: True if the cell reads the sequence from its end to its beginning.
    """

    name: str
    cell: nn.RNNCellBase
    recurrence: Recurrence
    loss: Callable[[Tree], jax.Array]
    reverse: bool


def find_recurrences(call: Callable[[], jax.Array]) -> list[ModelRecurrence]:
    """Finds every cell that ``call`` runs over a sequence, in the order in which they run.

    The loss of each recurrence contains everything that comes after the cell, such as the layers above it. The
    parameter gradients of all recurrences are therefore those of the whole model. Put this call and the measures of
    what it finds under one ``jax.jit``.

    Args:
        call: runs the model without dropout and returns a scalar loss. It must run the same model at every call.

    Returns:
        A list of one `ModelRecurrence` for each cell; an empty list if the model has none.

    Raises:
        ValueError: a recurrent layer runs under ``nn.scan`` or another transformation, where the layers cannot be told
            apart.
    """
    found: list[ModelRecurrence] = []
    outside = get_opaque_trace_state(convention="flax")

    def record(index: int, name: str, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if get_opaque_trace_state(convention="flax") != outside:
            raise ValueError(
                f"call: got the cell {name} under a transformation of the model's own, expected layers that the model "
                "calls itself; run them in a Python loop, or use DeepRecurrent"
            )
        found.append(_model_recurrence(call, index, name, _CellCall(*arguments)))
        return run()

    with nn.intercept_methods(_Listener(record)):
        call()
    return found


class _CellCall(NamedTuple):
    """The arguments of ``run_cell``, in their order."""

    cell: nn.RNNCellBase
    inputs: jax.Array
    lengths: jax.Array | None
    initial_carry: Any
    loop: Any
    train: bool | None


class _Listener:
    """A flax interceptor that counts and names the cells in the order in which they run.

    Args:
        handle: is called for each cell as ``handle(index, name, run, arguments)`` in place of ``run()``. It returns the
            result of the cell.
    """

    def __init__(self, handle: Callable[[int, str, Callable[[], Any], tuple[Any, ...]], Any]):
        self._handle, self._count, self._prefix = handle, 0, ()

    def __call__(self, run: Any, arguments: Any, options: Any, context: Any) -> Any:
        if context.method_name == "run_upper" and isinstance(context.module, DeepRecurrent):
            return self._run_upper(context.module, *arguments)
        if context.method_name != "run_cell":
            return run(*arguments, **options)
        index, self._count = self._count, self._count + 1
        name = "/".join(map(str, (*self._prefix, *arguments[0].path)))
        return self._handle(index, name, lambda: run(*arguments), arguments)

    def _run_upper(
        self, stack: DeepRecurrent, outputs: jax.Array, lengths: Any, initial_carry: Any, _: bool
    ) -> Any:
        """Runs the upper layers in a Python loop. In the model's own scan they would be one layer."""
        prefix, carries = self._prefix, []
        for index, layer in enumerate(stack.upper_layers()):
            self._prefix = (*prefix, *stack.path, "upper", index)
            layer_carry = jax.tree.map(lambda leaf, index=index: leaf[index], initial_carry)
            outputs, carry = layer(outputs, layer_carry, lengths)
            carries.append(carry)
        self._prefix = prefix
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries), outputs


def _model_recurrence(
    call: Callable[[], jax.Array], index: int, name: str, ran: _CellCall
) -> ModelRecurrence:
    """What the ``index``-th cell of ``call`` was given, with its batch dimensions flattened into one."""
    cell, reverse = ran.cell, ran.loop.reverse
    time_axis = ran.inputs.ndim - cell.num_feature_axes - 1
    batch, steps = ran.inputs.shape[:time_axis], ran.inputs.shape[time_axis]
    rows, options = math.prod(batch), train_option(cell, False)
    lengths = None if ran.lengths is None else jnp.clip(ran.lengths.reshape(rows), 0, steps)
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
        outputs = _in_reading_order(
            outputs, lengths, reverse
        )  # twice in reading order is the sequence's order
        last = jax.tree.map(lambda leaf: leaf[-1].reshape(*batch, *leaf.shape[2:]), states)
        return _loss_with_result(call, index, (last, outputs.reshape(*batch, *outputs.shape[1:])))

    inputs = _in_reading_order(flatten_batch(ran.inputs), lengths, reverse)
    initial_state = jax.tree.map(flatten_batch, carry)
    recurrence = Recurrence(step, variables["params"], initial_state, jnp.swapaxes(inputs, 0, 1), lengths)
    return ModelRecurrence(name, unbound, recurrence, loss, reverse)


def _loss_with_result(call: Callable[[], jax.Array], index: int, result: Any) -> jax.Array:
    """The loss that ``call`` returns if its ``index``-th cell returns this ``(carry, outputs)``."""

    def replace(running: int, _: str, run: Callable[[], Any], __: tuple[Any, ...]) -> Any:
        return result if running == index else run()

    with nn.intercept_methods(_Listener(replace)):
        return call()


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
