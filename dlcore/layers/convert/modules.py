"""Finds the layers of a model, and the places of their variables, by tracing it."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict

from dlcore.data.batch import STREAMS
from dlcore.layers.recurrent.cell import Cell
from dlcore.layers.recurrent.deep import DeepRecurrent
from dlcore.layers.recurrent.layer import Bidirectional, Recurrent
from dlcore.layers.recurrent.stateful import Stateful
from dlcore.utils.checks import check_instance


class Layer(NamedTuple):
    """A layer of a model.

    Attributes:
        module: the layer's module.
        cell: the cell of a recurrent layer, or the layer if it is a cell itself; None for other layers.
        parts: the path of each part of a recurrent layer's parameters, such as ``{"cell": "LSTMCell_0"}``. A cell that
            is made in a compact method belongs to the module around the layer.
    """

    module: nn.Module
    cell: Cell | None
    parts: Mapping[str, str]


class Model(NamedTuple):
    """What tracing a model shows.

    Attributes:
        layers: the layers by path, such as ``encoder/Conv_0``; the model itself has the path "".
        shapes: the shape and type of each variable by its collection and path, such as
            ``params/encoder/Conv_0/kernel``, without the states of streams.
    """

    layers: Mapping[str, Layer]
    shapes: Mapping[str, jax.ShapeDtypeStruct]


def trace_model(model: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> Model:
    """The layers and the shapes of the variables of a model; nothing is computed.

    Args:
        model: the model.
        inputs: the positional arguments of a call, arrays or ``jax.ShapeDtypeStruct``.
        named: its arguments by keyword.

    Raises:
        TypeError: the model is not a linen module.
        Exception: whatever the model raises for these arguments.
    """
    check_instance("model", model, nn.Module, "a linen module, such as Model()")
    layers: dict[str, Layer] = {}

    def record(method: Any, arguments: Any, options: Any, context: Any) -> Any:
        path = "/".join(context.module.path)
        if path not in layers:
            layers[path] = _layer(context.module)
        return method(*arguments, **options)

    with nn.intercept_methods(record):
        variables = jax.eval_shape(functools.partial(model.init, **named), jax.random.key(0), *inputs)
    kept = {name: tree for name, tree in variables.items() if name not in (STREAMS, "intermediates")}
    return Model(layers, flatten_dict(kept, sep="/"))


def _layer(module: nn.Module) -> Layer:
    if isinstance(module, Stateful):
        return _layer(module.layer)
    path = "/".join(module.path)
    if isinstance(module, DeepRecurrent):
        parts = {"first": f"{path}/first", **({"upper": f"{path}/upper"} if module.layers > 1 else {})}
        return Layer(module, _cell(module.cell), {part: where.lstrip("/") for part, where in parts.items()})
    children: dict[str, Any] = {}
    if isinstance(module, Bidirectional):
        children = {"forward": module.forward, "backward": module.backward}
    elif isinstance(module, Recurrent):
        children = {"cell": module.cell}
    elif isinstance(module, Cell):
        children = {"cell": module}
    cell = _cell(next(iter(children.values()), None))
    return Layer(module, cell, {part: "/".join(child.path) for part, child in children.items()})


def _cell(cell: Any) -> Cell | None:
    return cell if isinstance(cell, Cell) else None
