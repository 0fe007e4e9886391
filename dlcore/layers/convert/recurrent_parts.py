"""Converts the recurrent layers of a whole model, whose cells may belong to the module around the layer."""

from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from dlcore.layers.convert import libraries
from dlcore.layers.convert.layouts import Arrays
from dlcore.layers.convert.modules import Layer
from dlcore.layers.recurrent.cell import Cell

_PARAMS = "params/"


def read_recurrent(own: Mapping[str, Any], layer: Layer, library: str) -> Arrays:
    """The arrays of a recurrent layer by dlcore's collection and path.

    Args:
        own: the arrays of a module of the library by their names there.
        layer: the layer or cell.
        library: "torch" or "flax".

    Raises:
        ValueError: the module has other parts, such as another direction; or as in `libraries`.
        TypeError: as in `libraries`.
    """
    assert layer.cell is not None
    tree = _read_torch(own, layer.cell) if library == "torch" else _read_flax(own, layer.cell)
    if "first" in layer.parts and "first" not in tree:
        tree = {"first": tree}  # a stack of one layer
    if set(tree) != set(layer.parts):
        raise ValueError(
            f"names: got a module with {', '.join(tree)}, expected one with {', '.join(layer.parts)} for a "
            f"{type(layer.module).__name__}; the number of layers and of directions must agree"
        )
    return {
        f"{_PARAMS}{place}/{name}": array
        for part, place in layer.parts.items()
        for name, array in flatten_dict(tree[part], sep="/").items()
    }


def write_recurrent(parts: Mapping[str, Mapping[str, Any]], layer: Layer, library: str) -> Arrays:
    """The inverse of `read_recurrent`: arrays by the names that they have in the library's module.

    Args:
        parts: the arrays of each of the layer's parts, by names such as ``params/bias``.
        layer: the layer or cell.
        library: "torch" or "flax".

    Raises:
        ValueError, TypeError: as in `libraries`.
    """
    assert layer.cell is not None
    tree = {
        part: unflatten_dict({name.removeprefix(_PARAMS): leaf for name, leaf in own.items()}, sep="/")
        for part, own in parts.items()
    }
    if library == "torch":
        return libraries.to_torch(tree["cell"] if isinstance(layer.module, Cell) else tree, layer.cell)
    written = flatten_dict(libraries.to_flax(_only_cell(tree), layer.cell), sep="/")
    return {_PARAMS + name: array for name, array in written.items()}


def _read_torch(own: Mapping[str, Any], cell: Cell) -> Mapping[str, Any]:
    tree = libraries.from_torch(own, cell)
    return {"cell": tree} if "input_kernel" in tree else tree


def _read_flax(own: Mapping[str, Any], cell: Cell) -> Mapping[str, Any]:
    nested = unflatten_dict({name.removeprefix(_PARAMS): leaf for name, leaf in own.items()}, sep="/")
    return {"cell": libraries.from_flax(nested, cell)}


def _only_cell(tree: Mapping[str, Any]) -> Any:
    if set(tree) != {"cell"}:
        raise ValueError(
            f"names: got a layer with {', '.join(tree)}, expected the names of single cells of flax"
        )
    return tree["cell"]
