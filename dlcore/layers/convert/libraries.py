"""Recurrent parameters from and to torch, flax, haiku and keras.

    params = from_torch(module.state_dict(), cell)        state_dict = to_torch(params, cell)

``cell`` is the `RNNCell`, `LSTMCell` or `GRUCell` that the parameters are for, unbound. Of torch whole stacks are
converted, of the others one cell. Outputs are then equal, given that what leaves no parameters agrees, too: the plain
cell's activation (torch, flax, keras: tanh unless told otherwise; haiku: ReLU), no zoneout, ``merge="concat"`` and
neither norm nor residual between layers, haiku's carry ``(h, c)`` where ours is ``(c, h)``.

Where an equation adds two biases, ours is their sum; on the way back it is the input's, and the other one is 0. Ours
come back exactly from everywhere (with haiku's LSTM, whose ``sigma(f + 1)`` moves a 1 in and out of the forget bias,
up to rounding); theirs where the bias that is added is 0. Gradients can be converted to theirs, but with haiku's LSTM:
each of two biases that are added has the gradient that stands at the first.

Errors are those of all functions here:
    ValueError: the equations differ (torch and flax reset the GRU after the product, haiku before it), names are
        missing or surplus, or shapes do not fit the cell. TypeError: ``cell`` is none of these cells.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dlcore.layers.convert.layouts import Arrays, Layout, convert_arrays, kind_of, layouts, pieces, shown
from dlcore.layers.recurrent.cells import Cell, RNNCell

Params: TypeAlias = dict[str, Any]

_HAIKU_NAMES = {"rnn": "vanilla_rnn", "lstm": "lstm", "gru before": "gru"}
_WAYS = {"cell": "", "forward": "", "backward": "_reverse"}
"""Ours, with torch's suffixes."""


def from_torch(state_dict: Mapping[str, Any], cell: Cell) -> Params:
    """Parameters from those of an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, tensors or arrays by name.

    Returns:
        Of one layer the parameters of a `Recurrent`, or, where it goes both ways, of a `Bidirectional`; of several
        those of a `DeepRecurrent` (which has a single one as ``{"first": from_torch(...)}``).

    >>> from dlcore.layers.cells import LSTMCell
    >>> shapes = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
    >>> params = from_torch({name: np.ones(shape) for name, shape in shapes.items()}, LSTMCell(features=4))
    >>> jax.tree.map(jnp.shape, params)
    {'cell': {'bias': (16,), 'input_kernel': (3, 16), 'recurrent_kernel': (4, 16)}}
    """
    ours, theirs = layouts(cell, "torch")
    depth = sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in state_dict)
    both = any(name.endswith("_reverse") for name in state_dict)
    pairs = [pair[::-1] for pair in _stack(ours, theirs, cell, depth if depth > 1 else 0, both)]
    params = _nested(convert_arrays("state_dict", state_dict, pairs, cell), cell)
    if depth > 1:
        layers = params["upper"].values()
        params["upper"] = {"layer": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)}
    return params


def to_torch(params: Params, cell: Cell) -> Arrays:
    """The inverse of `from_torch`: what ``module.load_state_dict`` takes, once each array is a tensor."""
    ours, theirs = layouts(cell, "torch")
    flat = dict(_by_layer(params))
    above = {path.split("/")[1] for path in flat if re.match(r"upper/\d+/", path)}
    both = any(re.search(r"(^|/)backward/", path) for path in flat)
    depth = 1 + len(above) if "first" in params else 0
    return convert_arrays("params", flat, list(_stack(ours, theirs, cell, depth, both)), cell)


def from_flax(params: Mapping[str, Any], cell: Cell) -> Params:
    """A cell's parameters from a flax ``SimpleCell``'s, ``LSTMCell``'s, ``OptimizedLSTMCell``'s or ``GRUCell``'s."""
    ours, theirs = layouts(cell, "flax")
    return _nested(convert_arrays("params", flatten_dict(params, sep="/"), [(theirs, ours)], cell), cell)


def to_flax(params: Params, cell: Cell) -> Params:
    """The inverse of `from_flax`; nested, of NumPy arrays. Zeros are flax's biases where the cell has none."""
    return unflatten_dict(convert_arrays("params", params, [layouts(cell, "flax")], cell), sep="/")


def from_haiku(params: Mapping[str, Mapping[str, Any]], cell: Cell, name: str | None = None) -> Params:
    """A cell's parameters from those of the haiku ``VanillaRNN``, ``LSTM`` or ``GRU`` of this module name.

    Args:
        params: of the core, or of a whole haiku network: by module, by name.
        cell: of a VanillaRNN one whose activation is ReLU.
        name: as in ``"net/lstm_1"``; None is haiku's own for a core that stands by itself.
    """
    ours, theirs = _haiku_layouts(cell, name)
    core = theirs.names[0].removesuffix("w_i").removesuffix("linear/w")
    flat = {f"{module}/{key}": leaf for module, leaves in params.items() for key, leaf in leaves.items()}
    flat = {path: leaf for path, leaf in flat.items() if path.startswith(core)}
    if isinstance(cell, RNNCell) and flat:  # A VanillaRNN(double_bias=False) lacks the second one.
        flat.setdefault(theirs.names[-1], np.zeros(cell.features, np.float32))
    return _nested(convert_arrays("params", flat, [(theirs, ours)], cell), cell)


def to_haiku(params: Params, cell: Cell, name: str | None = None) -> Params:
    """The inverse of `from_haiku`, of NumPy arrays. Zeros are haiku's biases where the cell has none."""
    modules: Params = {}
    for path, array in convert_arrays("params", params, [_haiku_layouts(cell, name)], cell).items():
        module, _, key = path.rpartition("/")
        modules.setdefault(module, {})[key] = array
    return modules


def from_keras(weights: Sequence[Any], cell: Cell) -> Params:
    """A cell's parameters from ``get_weights()`` of a keras ``SimpleRNN``, ``LSTM`` or ``GRU``.

    A GRU's ``reset_after`` must be the cell's ``reset``. Without biases it leaves no trace in the weights.
    """
    ours, theirs = layouts(cell, "keras")
    names = list(pieces(theirs))
    if len(weights) != len(names):
        raise ValueError(
            f"weights: got {len(weights)} arrays, expected {len(names)} ({', '.join(names)}) for {shown(cell)}; "
            "use_bias must agree, and layers are converted one by one"
        )
    named = dict(zip(names, weights, strict=True))
    return _nested(convert_arrays("weights", named, [(theirs, ours)], cell), cell)


def to_keras(params: Params, cell: Cell) -> list[np.ndarray]:
    """The inverse of `from_keras`: what ``layer.set_weights`` takes."""
    return list(convert_arrays("params", params, [layouts(cell, "keras")], cell).values())


def _haiku_layouts(cell: Cell, name: str | None) -> tuple[Layout, Layout]:
    ours, theirs = layouts(cell, "haiku")
    name = _HAIKU_NAMES[kind_of(cell)] if name is None else name
    return ours, theirs._replace(names=tuple(f"{name}/{part}" for part in theirs.names))


def _stack(
    ours: Layout, theirs: Layout, cell: Cell, depth: int, both: bool
) -> Iterator[tuple[Layout, Layout]]:
    """Of each layer and direction, ours as ``first/cell/bias`` and torch's as ``bias_ih_l0``; depth 0: of one layer."""
    for layer, prefix in enumerate(["first/", *(f"upper/{n}/" for n in range(1, depth))] if depth else [""]):
        inputs = cell.features * (1 + both) if layer else None
        for way in ("forward", "backward") if both else ("cell",):
            for_ours = tuple(f"{prefix}{way}/{name}" for name in ours.names)
            for_theirs = tuple(f"{name}_l{layer}{_WAYS[way]}" for name in theirs.names)
            yield (
                ours._replace(names=for_ours, inputs=inputs),
                theirs._replace(names=for_theirs, inputs=inputs),
            )


def _by_layer(params: Params) -> Iterator[tuple[str, Any]]:
    """Arrays by path, those of ``upper/layer`` taken apart: ``upper/1/cell/bias``."""
    for path, leaf in flatten_dict(params, sep="/").items():
        if path.startswith("upper/layer/"):
            for layer, of_layer in enumerate(np.atleast_1d(leaf), start=1):
                yield path.replace("layer", str(layer), 1), of_layer
        else:
            yield path, leaf


def _nested(arrays: Arrays, cell: Cell) -> Params:
    leaves = {path: jnp.asarray(array, cell.param_dtype) for path, array in arrays.items()}
    return unflatten_dict(leaves, sep="/")
