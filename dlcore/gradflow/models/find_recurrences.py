"""The recurrences in a model, found while it runs: what each cell was given, and the loss as a function of its states.

The model is not changed and need not know: every recurrent layer of dlcore runs its cells through the method
``run_cell``, at which `flax.linen.intercept_methods` listens.
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
from dlcore.ops.lengths import zero_padding


class ModelRecurrence(NamedTuple):
    """One cell over one sequence.

    Attributes:
        name: the cell's path in the model's parameters, such as ``encoder/cell``; of the upper layers of a
            `DeepRecurrent`, which share a path, with the layer's number: ``stack/upper/0/layer/cell``.
        cell: it, unbound.
        recurrence: its step, parameters, initial state, inputs and lengths. A cell that goes from each row's last step
            to its first has its inputs in that order: time is always the cell's own.
        loss: the model's loss, as a function of this cell's states ``[T + 1, B, ...]`` in place of those that it had;
            for `recurrence.direct`.
        reverse: whether the cell's time goes against the sequence's.
    """

    name: str
    cell: nn.RNNCellBase
    recurrence: Recurrence
    loss: Callable[[Tree], jax.Array]
    reverse: bool


def find_recurrences(call: Callable[[], jax.Array]) -> list[ModelRecurrence]:
    """Every cell that ``call`` runs over a sequence, in the order in which it runs them.

    Each is a chain of its own: its loss contains all that comes behind it, such as the layers above, so that the
    parameter gradients of all chains are those of the whole model. What to measure along them belongs under one
    ``jax.jit`` with this call.

    Args:
        call: runs the model without dropout, the same one whenever it is called, and returns a scalar loss.

    Raises:
        ValueError: a recurrent layer runs under ``nn.scan`` or another transformation, where its layers are not told
            apart.
    """
    found: list[ModelRecurrence] = []

    outside = get_opaque_trace_state(convention="flax")

    def listen(number: int, name: str, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if get_opaque_trace_state(convention="flax") != outside:
            raise ValueError(
                f"call: got the cell {name} under a transformation of the model's own, expected layers that the model "
                "calls itself; run them in a Python loop, or use DeepRecurrent"
            )
        found.append(_chain(call, number, name, *arguments))
        return run()

    with nn.intercept_methods(_Listener(listen)):
        call()
    return found


class _Listener:
    """An interceptor that numbers and names the cells in the order in which they run.

    Args:
        hear: ``hear(number, name, run, arguments of run_cell) -> result``.
    """

    def __init__(self, hear: Callable[[int, str, Callable[[], Any], tuple[Any, ...]], Any]):
        self._hear, self._count, self._above = hear, 0, ()

    def __call__(self, run: Any, arguments: Any, options: Any, context: Any) -> Any:
        if context.method_name == "run_upper" and isinstance(context.module, DeepRecurrent):
            return self._one_by_one(context.module, *arguments)
        if context.method_name != "run_cell":
            return run(*arguments, **options)
        number, self._count = self._count, self._count + 1
        name = "/".join(map(str, (*self._above, *arguments[0].path)))
        return self._hear(number, name, lambda: run(*arguments), arguments)

    def _one_by_one(
        self, stack: DeepRecurrent, outputs: jax.Array, lengths: Any, initial_carry: Any, _: bool
    ) -> Any:
        """The upper layers in a Python loop in place of the scan, in which they would run as one."""
        above, after = self._above, []
        for number, layer in enumerate(stack.upper_layers()):
            self._above = (*above, *stack.path, "upper", number)
            own = jax.tree.map(lambda leaf, number=number: leaf[number], initial_carry)
            outputs, carry = layer(outputs, own, lengths)
            after.append(carry)
        self._above = above
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *after), outputs


def _chain(
    call: Callable[[], jax.Array],
    number: int,
    name: str,
    cell: nn.RNNCellBase,
    inputs: jax.Array,
    lengths: jax.Array | None,
    initial_carry: Any,
    loop: Any,
    _: bool | None,
) -> ModelRecurrence:
    rank = inputs.ndim - cell.num_feature_axes - 1
    batch = inputs.shape[:rank]
    if initial_carry is None:
        initial_carry = make_carry(cell, (*batch, *inputs.shape[rank + 1 :]))
    rows, options = math.prod(batch), train_option(cell, False)
    flat: Callable[[jax.Array], jax.Array] = lambda array: array.reshape(rows, *array.shape[rank:])
    lengths = None if lengths is None else jnp.clip(lengths.reshape(rows), 0, inputs.shape[rank])
    variables, unbound = cell.variables, cell.clone(parent=None, name=None)
    steps = _in_cells_order(flat(inputs), lengths, loop.reverse)

    def step(params: Tree, state: Tree, now: Tree) -> Tree:
        return unbound.apply({**variables, "params": params}, state, now, **options)[0]

    def loss(states: Tree) -> jax.Array:
        hidden = jnp.swapaxes(hidden_of(states)[1:], 0, 1)
        outputs = hidden if lengths is None else zero_padding(hidden, lengths)
        outputs = _in_cells_order(outputs, lengths, loop.reverse)  # which is its own inverse
        last = jax.tree.map(lambda leaf: leaf[-1].reshape(*batch, *leaf.shape[2:]), states)
        return _with_result(call, number, (last, outputs.reshape(*batch, *outputs.shape[1:])))

    recurrence = Recurrence(
        step, variables["params"], jax.tree.map(flat, initial_carry), jnp.swapaxes(steps, 0, 1), lengths
    )
    return ModelRecurrence(name, unbound, recurrence, loss, loop.reverse)


def _with_result(call: Callable[[], jax.Array], number: int, result: Any) -> jax.Array:
    """The loss where the cell that runs as the ``number``-th gives this ``(carry, outputs)``."""

    def put(running: int, _: str, run: Callable[[], Any], __: tuple[Any, ...]) -> Any:
        return result if running == number else run()

    with nn.intercept_methods(_Listener(put)):
        return call()


def _in_cells_order(rows: jax.Array, lengths: jax.Array | None, reverse: bool) -> jax.Array:
    """Rows ``[B, T, ...]`` as the cell goes through them: each from its own last step on, if in reverse."""
    if not reverse:
        return rows
    if lengths is None:
        return jnp.flip(rows, axis=1)
    steps = jnp.arange(rows.shape[1])
    places = jnp.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return jnp.take_along_axis(rows, places.reshape(*places.shape, *[1] * (rows.ndim - 2)), axis=1)
