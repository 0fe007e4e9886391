"""Converts the variables of whole models from and to torch and flax, layer by layer.

    variables = model_from_torch(module.state_dict(), model, {"conv1": "Conv_0", "lstm": "Recurrent_0"}, inputs)

A dict names the layers: the path of a module in the other library -> the path of the layer in dlcore's model. These
layers are converted: `Conv`, `ConvTranspose` and flax's ``Conv``, ``Dense``, ``Embed``, ``BatchNorm``, ``LayerNorm``,
``GroupNorm`` and ``RMSNorm``; and recurrent layers and cells, as `from_torch` and `from_flax` convert them. Kernels of
`Conv` with ``flip=True`` are flipped, because torch and flax compute correlations.

The outputs are then equal if the settings without parameters agree, too: strides, padding, groups, activations, and the
epsilon of norms, which is 1e-5 in torch, and 1e-6 in flax's ``LayerNorm`` and ``GroupNorm``. torch has the channels in
the second dimension, dlcore in the last. So a torch ``Linear`` after a ``Flatten`` reads its inputs in another order;
``flattened`` says so. The running averages of BatchNorm are float32 in flax, also in a model of float64, and the norm
computes ``1 / sqrt(var + epsilon)`` in their type: such a model differs from torch's float64 by float32's rounding.
A `ConvTranspose` is flax's with ``transpose_kernel=True``, which has no groups.

All functions here raise:
    ValueError: a name leads to no layer, an array is missing or is not named by any layer, or a shape does not fit.
    TypeError: an argument has another type, or an array is not one of floating point numbers.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from dlcore.layers.convert.layer_arrays import Entry, entries_of, full_name, take_under
from dlcore.layers.convert.layouts import Arrays, to_numpy
from dlcore.layers.convert.modules import Layer, Model, trace_model
from dlcore.layers.convert.recurrent_parts import read_recurrent, write_recurrent
from dlcore.utils.checks import check_instance, check_integer

Variables: TypeAlias = dict[str, Any]
Names: TypeAlias = Mapping[str, str]
Shapes: TypeAlias = Mapping[str, Sequence[int]]


def model_from_torch(
    state_dict: Mapping[str, Any],
    model: nn.Module,
    names: Names,
    *inputs: Any,
    flattened: Shapes | None = None,
    **named: Any,
) -> Variables:
    """Converts the state dict of a torch module to the variables of a model. Errors are those of the module.

    Args:
        state_dict: tensors or arrays by name. BatchNorm's ``num_batches_tracked`` is left out.
        model: dlcore's model, a linen module.
        names: the path of each torch module, such as ``encoder.0`` -> the path of the layer in the model, such as
            ``ConvStack_0/block_0/conv_0``. The path "" is the whole module. A ``nn.LSTMCell``, ``GRUCell`` or
            ``RNNCell`` of torch belongs to a layer of one cell or to the cell.
        inputs: what the model is called with, arrays or ``jax.ShapeDtypeStruct``.
        flattened: for each torch ``Linear`` that follows a ``Flatten``, by its path: the shape ``(C, *spatial)`` of one
            input before it.
        named: what the model is called with by keyword, such as ``train=False``.

    Returns:
        The collections ``params`` and, if the model has it, ``batch_stats``, in the types that ``model.init`` gives
        them. The state of a `Stateful` layer is not among them.

    >>> import jax
    >>> state_dict = {"conv.weight": np.ones((4, 2, 3)), "conv.bias": np.ones(4)}
    >>> class Convolution(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, inputs):
    ...         return nn.Conv(4, (3,), padding="VALID")(inputs)
    >>> variables = model_from_torch(state_dict, Convolution(), {"conv": "Conv_0"}, np.ones((1, 5, 2)))
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'Conv_0': {'bias': (4,), 'kernel': (3, 2, 4)}}}
    """
    check_instance("state_dict", state_dict, Mapping, "a dict of tensors by name")
    leaves = {name: leaf for name, leaf in state_dict.items() if not name.endswith("num_batches_tracked")}
    return _read("state_dict", leaves, trace_model(model, inputs, named), names, "torch", flattened or {})


def model_to_torch(
    variables: Mapping[str, Any],
    model: nn.Module,
    names: Names,
    *inputs: Any,
    flattened: Shapes | None = None,
    **named: Any,
) -> Arrays:
    """The inverse of `model_from_torch`: a dict of NumPy arrays by torch's names. Errors are those of the module.

    ``module.load_state_dict`` takes the result after each array is made a tensor. A path of a cell gives the names of
    torch's cell (``weight_ih``), a path of a layer those of its layer (``weight_ih_l0``).

    Args:
        variables: the variables of the model; collections other than ``params`` and ``batch_stats`` do not count.
        model: as in `model_from_torch`.
        names: as in `model_from_torch`.
        inputs: as in `model_from_torch`.
        flattened: as in `model_from_torch`.
        named: as in `model_from_torch`.
    """
    return _write(variables, trace_model(model, inputs, named), names, "torch", flattened or {})


def model_from_flax(
    variables: Mapping[str, Any], model: nn.Module, names: Names, *inputs: Any, **named: Any
) -> Variables:
    """Converts the variables of a flax linen model to those of a model of dlcore. Errors are those of the module.

    Args:
        variables: the collections ``params`` and, if there is one, ``batch_stats``.
        model: dlcore's model, a linen module.
        names: the path of each layer or cell in flax's model, such as ``encoder/Conv_0`` or ``LSTMCell_0`` -> the path
            of the layer in dlcore's model. Recurrent cells are converted one by one.
        inputs: what dlcore's model is called with, arrays or ``jax.ShapeDtypeStruct``.
        named: what it is called with by keyword, such as ``train=False``.

    Returns:
        As `model_from_torch`.
    """
    check_instance("variables", variables, Mapping, "a dict of collections, such as {'params': ...}")
    leaves = flatten_dict(dict(variables), sep="/")
    return _read("variables", leaves, trace_model(model, inputs, named), names, "flax", {})


def model_to_flax(
    variables: Mapping[str, Any], model: nn.Module, names: Names, *inputs: Any, **named: Any
) -> Variables:
    """The inverse of `model_from_flax`: collections of NumPy arrays. Errors are those of the module.

    Args:
        variables: the variables of dlcore's model.
        model: as in `model_from_flax`.
        names: as in `model_from_flax`.
        inputs: as in `model_from_flax`.
        named: as in `model_from_flax`.
    """
    return unflatten_dict(_write(variables, trace_model(model, inputs, named), names, "flax", {}), sep="/")


def _read(
    argument: str, leaves: Mapping[str, Any], model: Model, names: Names, library: str, flattened: Shapes
) -> Variables:
    left = dict(leaves)
    found: dict[str, Any] = {}
    for theirs, layer in _named_layers(model, names, flattened):
        own, place = take_under(left, library, theirs), names[theirs]
        try:
            if layer.cell is None:
                entries = _entries(layer, place, library, flattened.get(theirs), model)
                arrays = _read_layer(argument, own, entries)
                made = {full_name("flax", place, name): array for name, array in arrays.items()}
            else:
                made = read_recurrent(own, layer, library)
            _check_new(made, found)
            found |= {name: _fitted(argument, name, array, model) for name, array in made.items()}
        except (ValueError, TypeError) as error:
            raise type(error)(f"{error}; this is {theirs!r} for {place!r}") from None
    missing = [place for place in model.shapes if place not in found]
    if left or missing:
        raise ValueError(
            f"names: got none for {', '.join(left) or 'nothing'} of {argument}, and none that gives "
            f"{', '.join(missing) or 'anything else'} of the model; expected the names of all layers"
        )
    return unflatten_dict(found, sep="/")


def _write(variables: Any, model: Model, names: Names, library: str, flattened: Shapes) -> Arrays:
    left = _checked_variables(variables, model)
    written: Arrays = {}
    for theirs, layer in _named_layers(model, names, flattened):
        place = names[theirs]
        if layer.cell is None:
            entries = _entries(layer, place, library, flattened.get(theirs), model)
            own = take_under(left, "flax", place)
            made = {entry.theirs: np.ascontiguousarray(entry.write(own[entry.ours])) for entry in entries}
        else:
            parts = {part: take_under(left, "flax", where) for part, where in layer.parts.items()}
            made = write_recurrent(parts, layer, library)
        arrays = {full_name(library, theirs, name): array for name, array in made.items()}
        _check_new(arrays, written)
        written |= arrays
    if left:
        raise ValueError(f"names: got none for {', '.join(left)}, expected the names of all layers")
    return written


def _named_layers(model: Model, names: Names, flattened: Shapes) -> Iterator[tuple[str, Layer]]:
    """The path in the other library and the layer, for each name."""
    check_instance("names", names, Mapping, 'a dict of paths, such as {"conv1": "Conv_0"}')
    check_instance("flattened", flattened, Mapping, 'a dict of shapes, such as {"fc": (16, 5, 5)}')
    for theirs, place in names.items():
        check_instance("names", theirs, str, "paths that are text")
        check_instance("names", place, str, "paths that are text")
        if place not in model.layers:
            known = ", ".join(path for path in model.layers if path) or "none"
            raise ValueError(
                f"names: got {place!r} for {theirs!r}, expected one of the model's layers: {known}"
            )
    if len(set(names.values())) < len(names):
        raise ValueError(f"names: got {dict(names)}, expected each layer of the model once")
    for theirs, shape in flattened.items():
        _check_flattened(model, theirs, names.get(theirs), shape)
    yield from ((theirs, model.layers[place]) for theirs, place in names.items())


def _check_flattened(model: Model, theirs: str, place: str | None, shape: Sequence[int]) -> None:
    """Checks that a shape before ``Flatten`` belongs to a dense layer of as many inputs."""
    if place is None or not isinstance(model.layers[place].module, nn.Dense) or isinstance(shape, str):
        raise ValueError(
            f"flattened: got {shape!r} for {theirs!r}, expected the shape (C, *spatial) for the name of a Dense"
        )
    check_instance("flattened", shape, Sequence, "shapes such as (16, 5, 5)")
    inputs = model.shapes[full_name("flax", place, "params/kernel")].shape[0]
    if math.prod(check_integer("flattened", size) for size in shape) != inputs:
        raise ValueError(
            f"flattened: got {shape!r} for {theirs!r}, expected the shape (C, *spatial) of {inputs} numbers"
        )


def _check_new(made: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises ValueError if two names lead to the same arrays, such as those of a layer and of its cell."""
    twice = [name for name in made if name in known]
    if twice:
        raise ValueError(f"names: got two names for {', '.join(twice)}, expected one")


def _entries(
    layer: Layer, place: str, library: str, flattened: Sequence[int] | None, model: Model
) -> list[Entry]:
    """The arrays that this layer has."""
    entries = entries_of(layer.module, library, flattened)
    if not entries:
        raise ValueError(
            f"names: got {place!r}, a {type(layer.module).__name__}, expected Conv, ConvTranspose, "
            "Dense, Embed, a norm or a recurrent layer"
        )
    return [entry for entry in entries if full_name("flax", place, entry.ours) in model.shapes]


def _read_layer(argument: str, own: Mapping[str, Any], entries: Sequence[Entry]) -> Arrays:
    expected = [entry.theirs for entry in entries]
    if set(own) != set(expected):
        raise ValueError(f"{argument}: got {', '.join(own) or 'nothing'}, expected {', '.join(expected)}")
    return {entry.ours: _read_array(argument, entry, own[entry.theirs]) for entry in entries}


def _read_array(argument: str, entry: Entry, leaf: Any) -> np.ndarray:
    array = to_numpy(argument, entry.theirs, leaf)
    try:
        return entry.read(array)
    except ValueError as error:  # axes that the array has not, or a size that flattened does not give
        raise ValueError(
            f"{argument}: got {entry.theirs} of shape {array.shape}, expected that of this layer"
        ) from error


def _fitted(argument: str, place: str, array: Any, model: Model) -> Any:
    """The array in the type that the model has it in."""
    expected = model.shapes[place]
    if array.shape != expected.shape:
        raise ValueError(f"{argument}: got shape {array.shape} for {place}, expected {expected.shape}")
    return jnp.asarray(array, expected.dtype)


def _checked_variables(variables: Any, model: Model) -> dict[str, np.ndarray]:
    """The variables by collection and path. The model has each of them."""
    check_instance("variables", variables, Mapping, "a dict of collections, such as {'params': ...}")
    flat = flatten_dict(dict(variables), sep="/")
    for place, expected in model.shapes.items():
        if np.shape(flat.get(place)) != expected.shape or place not in flat:
            got = f"shape {np.shape(flat[place])}" if place in flat else "nothing"
            raise ValueError(f"variables: got {got} for {place}, expected the shape {expected.shape}")
    return {place: to_numpy("variables", place, flat[place]) for place in model.shapes}
