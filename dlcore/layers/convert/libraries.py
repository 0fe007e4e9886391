"""Converts recurrent parameters from and to torch, flax, haiku and keras.

    params = from_torch(module.state_dict(), cell)        state_dict = to_torch(params, cell)

``cell`` is the unbound `RNNCell`, `LSTMCell` or `GRUCell` that the parameters are for. Between torch and dlcore whole
stacks are converted, for the other libraries one cell. The outputs are then equal if the settings without parameters
agree, too: the activation of the plain cell (tanh by default in torch, flax and keras; ReLU in haiku), no zoneout,
``merge="concat"``, and neither norm nor residual between layers. Haiku's carry is ``(h, c)``, dlcore's ``(c, h)``.

Where a library's equation adds two biases, dlcore's bias is their sum. In the other direction it becomes the bias of
the input, and the other bias is 0. dlcore's parameters survive a round trip exactly, except through haiku's LSTM, whose
``sigma(f + 1)`` adds 1 to the forget bias and subtracts it again, with rounding. A library's parameters survive a round
trip exactly if the second bias is 0. Gradients can be converted to the libraries' layouts, except to haiku's LSTM; both
of two added biases have the gradient that is written to the first.

All functions here raise:
    ValueError: the equations differ (torch and flax reset the GRU after the product, haiku before it), names are
        missing or surplus, shapes do not fit the cell, or there are biases other than 0 for a cell without biases.
    TypeError: ``cell`` is not one of these cells, or the parameters are not a dict of floating point arrays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dlcore.layers.convert.layouts import (
    Arrays,
    Layout,
    cell_kind,
    convert_arrays,
    describe_cell,
    layout_pair,
    parts_by_array,
)
from dlcore.layers.recurrent.cell import Cell
from dlcore.layers.recurrent.cells import RNNCell
from dlcore.utils.checks import check_instance

Params: TypeAlias = dict[str, Any]

_HAIKU_NAMES = {"rnn": "vanilla_rnn", "lstm": "lstm", "gru before": "gru"}
_TORCH_SUFFIXES = {"cell": "", "forward": "", "backward": "_reverse"}
"""By the name of a cell in dlcore's layers."""


def from_torch(state_dict: Mapping[str, Any], cell: Cell) -> Params:
    """Converts the parameters of a torch ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, or of one of their cells.

    Errors are those of the module.

    Args:
        state_dict: tensors or arrays by name.
        cell: the cell that the parameters are for.

    Returns:
        Nested dicts of arrays in the cell's ``param_dtype``. For one layer they are the parameters of a `Recurrent`,
        or of a `Bidirectional` if the module is bidirectional. For several layers they are those of a
        `DeepRecurrent`. A `DeepRecurrent` of one layer takes ``{"first": from_torch(...)}``. For a ``nn.RNNCell``,
        ``nn.LSTMCell`` or ``nn.GRUCell``, whose names have no ``_l0``, they are the parameters of the cell.

    >>> from dlcore.layers.recurrent.cells import LSTMCell
    >>> shapes = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
    >>> params = from_torch({name: np.ones(shape) for name, shape in shapes.items()}, LSTMCell(features=4))
    >>> jax.tree.map(jnp.shape, params)
    {'cell': {'bias': (16,), 'input_kernel': (3, 16), 'recurrent_kernel': (4, 16)}}
    """
    ours, theirs = layout_pair(cell, "torch")
    check_instance("state_dict", state_dict, Mapping, "a dict of tensors by name")
    if "weight_ih" in state_dict:
        return _nested(convert_arrays("state_dict", state_dict, [(theirs, ours)], cell), cell)
    depth = sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in state_dict)
    bidirectional = any(name.endswith("_reverse") for name in state_dict)
    pairs = _stack_layouts(ours, theirs, cell, depth if depth > 1 else 0, bidirectional)
    from_theirs = [pair[::-1] for pair in pairs]
    params = _nested(convert_arrays("state_dict", state_dict, from_theirs, cell), cell)
    if depth > 1:
        layers = params["upper"].values()
        params["upper"] = {"layer": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)}
    return params


def to_torch(params: Params, cell: Cell) -> Arrays:
    """The inverse of `from_torch`: a dict of NumPy arrays by torch's names. Errors are those of the module.

    ``module.load_state_dict`` takes the result after each array is made a tensor.

    Args:
        params: the parameters of a `Recurrent`, `Bidirectional`, `DeepRecurrent` or of the cell itself, which gives the
            names of torch's cell.
        cell: the cell that the parameters are for.
    """
    ours, theirs = layout_pair(cell, "torch")
    flat = dict(_by_layer(_flat("params", params)))
    if "input_kernel" in flat:
        return convert_arrays("params", flat, [(ours, theirs)], cell)
    upper = {path.split("/")[1] for path in flat if re.match(r"upper/\d+/", path)}
    bidirectional = any(re.search(r"(^|/)backward/", path) for path in flat)
    depth = 1 + len(upper) if "first" in params else 0
    pairs = list(_stack_layouts(ours, theirs, cell, depth, bidirectional))
    return convert_arrays("params", flat, pairs, cell)


def from_flax(params: Mapping[str, Any], cell: Cell) -> Params:
    """Converts the parameters of a flax ``SimpleCell``, ``LSTMCell``, ``OptimizedLSTMCell`` or ``GRUCell``.

    Returns:
        The parameters of ``cell``, a dict of arrays in its ``param_dtype``. Errors are those of the module.
    """
    ours, theirs = layout_pair(cell, "flax")
    return _nested(convert_arrays("params", _flat("params", params), [(theirs, ours)], cell), cell)


def to_flax(params: Params, cell: Cell) -> Params:
    """The inverse of `from_flax`: nested dicts of NumPy arrays. Flax's biases are zeros if the cell has none."""
    return unflatten_dict(convert_arrays("params", params, [layout_pair(cell, "flax")], cell), sep="/")


def from_haiku(params: Mapping[str, Mapping[str, Any]], cell: Cell, name: str | None = None) -> Params:
    """Converts the parameters of a haiku ``VanillaRNN``, ``LSTM`` or ``GRU``. Errors are those of the module.

    Args:
        params: the parameters of the core or of a whole haiku network, by module and name.
        cell: the cell that the parameters are for. For a VanillaRNN its activation must be ReLU.
        name: the name of the core's module, as in ``"net/lstm_1"``; None is haiku's default name of a core.

    Returns:
        The parameters of ``cell``, a dict of arrays in its ``param_dtype``.
    """
    ours, theirs = _haiku_layouts(cell, name)
    core = theirs.names[0].removesuffix("w_i").removesuffix("linear/w")
    flat = {path: leaf for path, leaf in _flat("params", params).items() if path.startswith(core)}
    if isinstance(cell, RNNCell) and flat:  # a VanillaRNN(double_bias=False) has no second bias
        flat.setdefault(theirs.names[-1], np.zeros(cell.features, np.float32))
    return _nested(convert_arrays("params", flat, [(theirs, ours)], cell), cell)


def to_haiku(params: Params, cell: Cell, name: str | None = None) -> Params:
    """The inverse of `from_haiku`: NumPy arrays by module and name. Haiku's biases are zeros if the cell has none."""
    modules: Params = {}
    for path, array in convert_arrays("params", params, [_haiku_layouts(cell, name)], cell).items():
        module, _, key = path.rpartition("/")
        modules.setdefault(module, {})[key] = array
    return modules


def from_keras(weights: Sequence[Any], cell: Cell) -> Params:
    """Converts the ``get_weights()`` of a keras ``SimpleRNN``, ``LSTM`` or ``GRU``.

    A GRU's ``reset_after`` must agree with the cell's ``reset``. Weights without biases do not show whether it does.

    Returns:
        The parameters of ``cell``, a dict of arrays in its ``param_dtype``. Errors are those of the module.
    """
    ours, theirs = layout_pair(cell, "keras")
    check_instance("weights", weights, Sequence, "a list of arrays, as get_weights() returns")
    names = list(parts_by_array(theirs))
    if len(weights) != len(names):
        raise ValueError(
            f"weights: got {len(weights)} arrays, expected {len(names)} ({', '.join(names)}) for "
            f"{describe_cell(cell)}; use_bias must agree, and layers are converted one by one"
        )
    named = dict(zip(names, weights, strict=True))
    return _nested(convert_arrays("weights", named, [(theirs, ours)], cell), cell)


def to_keras(params: Params, cell: Cell) -> list[np.ndarray]:
    """The inverse of `from_keras`: a list of NumPy arrays, which ``layer.set_weights`` takes."""
    return list(convert_arrays("params", params, [layout_pair(cell, "keras")], cell).values())


def _haiku_layouts(cell: Cell, name: str | None) -> tuple[Layout, Layout]:
    ours, theirs = layout_pair(cell, "haiku")
    name = _HAIKU_NAMES[cell_kind(cell)] if name is None else name
    return ours, theirs._replace(names=tuple(f"{name}/{part}" for part in theirs.names))


def _stack_layouts(
    ours: Layout, theirs: Layout, cell: Cell, depth: int, bidirectional: bool
) -> Iterator[tuple[Layout, Layout]]:
    """For each layer and direction, dlcore's layout (``first/cell/bias``) and torch's (``bias_ih_l0``).

    Depth 0 means one layer that is not part of a `DeepRecurrent`.
    """
    prefixes = ["first/", *(f"upper/{n}/" for n in range(1, depth))] if depth else [""]
    for layer, prefix in enumerate(prefixes):
        width = cell.features * (1 + bidirectional) if layer else None
        for direction in ("forward", "backward") if bidirectional else ("cell",):
            our_names = tuple(f"{prefix}{direction}/{name}" for name in ours.names)
            their_names = tuple(f"{name}_l{layer}{_TORCH_SUFFIXES[direction]}" for name in theirs.names)
            yield (
                ours._replace(names=our_names, input_width=width),
                theirs._replace(names=their_names, input_width=width),
            )


def _flat(argument: str, params: Any) -> dict[str, Any]:
    """Nested dicts of arrays as one dict of arrays by path."""
    check_instance(argument, params, Mapping, "nested dicts of arrays")
    return flatten_dict(dict(params), sep="/")


def _by_layer(flat: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arrays by path, with those of ``upper/layer`` split into layers: ``upper/1/cell/bias``."""
    for path, leaf in flat.items():
        if path.startswith("upper/layer/"):
            for layer, layer_leaf in enumerate(np.atleast_1d(leaf), start=1):
                yield path.replace("layer", str(layer), 1), layer_leaf
        else:
            yield path, leaf


def _nested(arrays: Arrays, cell: Cell) -> Params:
    """The arrays as nested parameters in the cell's dtype."""
    leaves = {path: jnp.asarray(array, cell.param_dtype) for path, array in arrays.items()}
    return unflatten_dict(leaves, sep="/")
