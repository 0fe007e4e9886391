"""Where torch, flax, haiku and keras keep the values of a recurrent cell, and how to convert between the layouts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from dlcore.layers.recurrent.cell import Cell
from dlcore.layers.recurrent.cells import GRUCell, LSTMCell, ResidualRNNCell, RNNCell
from dlcore.utils.checks import check_instance, shown

Arrays: TypeAlias = dict[str, np.ndarray]
Values: TypeAlias = dict[tuple[str, str], np.ndarray]
"""The arrays of one cell in a form that all libraries share: ``(part, gate)`` -> array, such as ("bias", "f")."""

_PARTS = ("input_kernel", "recurrent_kernel", "bias", "recurrent_bias")


class Layout(NamedTuple):
    """How a library stores the values of one cell: names of arrays, order of gates, signs.

    Attributes:
        gates: one letter for each gate, in the library's order, with the letters of dlcore's equations; "h" stands for
            the plain cell's only gate, "n" for the GRU's g.
        names: the name of the array for each part: input kernel, recurrent kernel, bias, recurrent bias. Parts with the
            same name are stacked in one array; a name with "{}" stands for one array for each gate.
        twice: the gates that have a recurrent bias in addition to the bias.
        transposed: True if gates are stacked as rows, False if they stand side by side as columns.
        negated: the gates whose sigma is 1 - sigma in dlcore's equations; their values change sign, because
            sigma(-x) = 1 - sigma(x).
        forget_bias: the constant that the library's equation adds to the forget gate's pre-activation.
        always_bias: True if each of the library's cells has biases; they are zeros for a dlcore cell without biases.
        input_width: F if it is known, as within a stack; None if not.
    """

    gates: str
    names: tuple[str, ...]
    twice: str = ""
    transposed: bool = False
    negated: str = ""
    forget_bias: float = 0.0
    always_bias: bool = False
    input_width: int | None = None


_OURS = {
    "rnn": Layout("h", _PARTS),
    "lstm": Layout("ifog", _PARTS),
    "gru before": Layout("zrn", _PARTS),
    "gru after": Layout("zrn", _PARTS, twice="n"),
}
_TORCH = {
    kind: Layout(gates, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), twice=gates, transposed=True)
    for kind, gates in {"rnn": "h", "lstm": "ifgo", "gru after": "rzn"}.items()
}
_FLAX = {
    "rnn": Layout("h", ("i/kernel", "h/kernel", "i/bias"), always_bias=True),
    "lstm": Layout("ifgo", ("i{}/kernel", "h{}/kernel", "h{}/bias"), always_bias=True),
    "gru after": Layout(
        "rzn", ("i{}/kernel", "h{}/kernel", "i{}/bias", "h{}/bias"), twice="n", always_bias=True
    ),
}
_HAIKU = {
    "rnn": Layout("h", ("linear/w", "linear_1/w", "linear/b", "linear_1/b"), twice="h", always_bias=True),
    "lstm": Layout("igfo", ("linear/w", "linear/w", "linear/b"), forget_bias=1.0, always_bias=True),
    "gru before": Layout("zrn", ("w_i", "w_h", "b"), negated="z", always_bias=True),
}
_KERAS = {
    "rnn": Layout("h", ("kernel", "recurrent_kernel", "bias")),
    "lstm": Layout("ifgo", ("kernel", "recurrent_kernel", "bias")),
    "gru before": Layout("zrn", ("kernel", "recurrent_kernel", "bias")),
    "gru after": Layout("zrn", ("kernel", "recurrent_kernel", "bias", "bias"), twice="zrn"),
}
LIBRARIES = {"torch": _TORCH, "flax": _FLAX, "haiku": _HAIKU, "keras": _KERAS}


def layout_pair(cell: Cell, library: str) -> tuple[Layout, Layout]:
    """The pair of this cell's layouts: in dlcore, and in the library ("torch", "flax", "haiku" or "keras").

    Raises:
        ValueError: the library has no cell with the same equations: it resets the GRU at the other place, or the cell
            is a `ResidualRNNCell` or has other connections than "full". The plain cell's activation is not checked.
        TypeError: ``cell`` is not an RNNCell, LSTMCell or GRUCell.
    """
    kind, known = cell_kind(cell), LIBRARIES[library]
    if kind not in known:
        other = {"gru before": "after", "gru after": "before"}[kind]
        raise ValueError(
            f'cell: got {describe_cell(cell)}, expected reset="{other}": {library} resets {other} the product; only '
            f'a GRUCell(features={cell.features}, reset="{other}") has the same equations'
        )
    ours, theirs = _OURS[kind], known[kind]
    if not cell.use_bias:
        ours, theirs = (
            layout if layout.always_bias else layout._replace(names=layout.names[:2])
            for layout in (ours, theirs)
        )
    return ours, theirs


def cell_kind(cell: Cell) -> str:
    """The name of the cell's equations: "rnn", "lstm", "gru before" or "gru after".

    Raises:
        ValueError: no other library has the cell's equations (a `ResidualRNNCell`, or connections that are not "full").
        TypeError: ``cell`` is not an RNNCell, LSTMCell or GRUCell.
    """
    if isinstance(cell, LSTMCell):
        return "lstm"
    if isinstance(cell, GRUCell):
        return f"gru {cell.reset}"
    if not isinstance(cell, RNNCell):
        raise TypeError(f"cell: got {type(cell).__name__}, expected an RNNCell, LSTMCell or GRUCell")
    if isinstance(cell, ResidualRNNCell):
        raise ValueError(
            "cell: got ResidualRNNCell, expected RNNCell; no other library's cell adds to its state"
        )
    if cell.connections != "full":
        raise ValueError(
            f'cell: got RNNCell(connections="{cell.connections}"), expected "full", as in the other libraries; '
            "convert the full kernel, with zeros where there is no connection, for a full RNNCell"
        )
    return "rnn"


def convert_arrays(
    argument: str, leaves: Mapping[str, Any], pairs: Sequence[tuple[Layout, Layout]], cell: Cell
) -> Arrays:
    """Converts arrays from source layouts to target layouts.

    Args:
        argument: what error messages call the arrays.
        leaves: the arrays by name; each must belong to one of the source layouts.
        pairs: the pair (source, target) for each layer and direction.
        cell: the dlcore cell.

    Returns:
        A dict of NumPy arrays by the names of the target layouts.

    Raises:
        ValueError: a name is missing or unknown, a shape does not fit, or there are biases other than 0 for a cell
            without biases.
        TypeError: the leaves are no dict, or one of them is not an array of floating point numbers.
    """
    check_instance(argument, leaves, Mapping, "a dict of arrays by name")
    _check_names(argument, leaves, [name for source, _ in pairs for name in parts_by_array(source)], cell)
    arrays = {name: to_numpy(argument, name, leaf) for name, leaf in leaves.items()}
    converted: Arrays = {}
    for source, target in pairs:
        _check_shapes(argument, arrays, source, cell)
        values = _with_biases(argument, _read(source, arrays, cell), target, cell)
        converted |= _write(target, values)
    return converted


def to_numpy(argument: str, name: str, leaf: Any) -> np.ndarray:
    """A tensor or array as a NumPy array.

    Raises:
        TypeError: it does not hold floating point numbers; the message calls it ``name`` of ``argument``.
    """
    for method in ("detach", "cpu"):  # a torch tensor may require a gradient or lie on a GPU
        leaf = getattr(leaf, method)() if hasattr(leaf, method) else leaf
    if str(getattr(leaf, "dtype", "")) == "torch.bfloat16":
        leaf = leaf.float()  # NumPy does not read bfloat16 from torch
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{argument}: got {name} with {shown(leaf)}, expected an array of floating point numbers"
        )
    return array


def parts_by_array(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    """A dict: array name -> the list of pairs (part, gates) that it holds, such as ("bias", "ifog").

    The parts in one array are stacked as rows, and the gates of a part stand side by side.
    """
    arrays: dict[str, list[tuple[str, str]]] = {}
    for part, name in zip(_PARTS, layout.names, strict=False):
        gates = layout.twice if part == "recurrent_bias" else layout.gates
        if "{}" in name:
            arrays |= {name.format(gate): [(part, gate)] for gate in gates}
        elif gates:
            arrays.setdefault(name, []).append((part, gates))
    return arrays


def _read(layout: Layout, arrays: Arrays, cell: Cell) -> Values:
    values: Values = {}
    for name, stacked in parts_by_array(layout).items():
        array = arrays[name].T if layout.transposed else arrays[name]
        # The recurrent part comes last: H rows of a kernel, one row of the biases.
        last = cell.features if "kernel" in stacked[0][0] else 1
        blocks = np.split(array, [-last]) if len(stacked) == 2 else [array]
        for (part, gates), block in zip(stacked, blocks, strict=True):
            columns = np.split(block if "kernel" in part else block.reshape(-1), len(gates), axis=-1)
            values |= {(part, gate): column for gate, column in zip(gates, columns, strict=True)}
    return _change_signs(layout, values, layout.forget_bias)


def _write(layout: Layout, values: Values) -> Arrays:
    values, arrays = _change_signs(layout, values, -layout.forget_bias), {}
    for name, stacked in parts_by_array(layout).items():
        blocks = [[values[part, gate] for gate in gates] for part, gates in stacked]
        array = np.block(blocks if len(blocks) == 2 else blocks[0])
        arrays[name] = np.ascontiguousarray(array.T) if layout.transposed else array
    return arrays


def _change_signs(layout: Layout, values: Values, forget_bias: float) -> Values:
    """Converts the library's gates to dlcore's, or back: negation is its own inverse."""
    values = {key: -value if key[1] in layout.negated else value for key, value in values.items()}
    if forget_bias:
        values["bias", "f"] = values["bias", "f"] + forget_bias
    return values


def _with_biases(argument: str, values: Values, target: Layout, cell: Cell) -> Values:
    """The values with the biases that the target has: a sum in place of two, or a bias and zeros in place of one."""
    values, zeros = dict(values), np.zeros_like(values["input_kernel", target.gates[0]], shape=cell.features)
    for gate in target.gates:
        bias, recurrent = (values.get((part, gate), zeros) for part in _PARTS[2:])
        if not cell.use_bias and (bias.any() or recurrent.any()):
            raise ValueError(
                f"{argument}: got biases other than 0, expected none for {describe_cell(cell)}; set use_bias=True"
            )
        biases = (bias, recurrent) if gate in target.twice else (bias + recurrent, zeros)
        values["bias", gate], values["recurrent_bias", gate] = biases
    return values


def _check_names(argument: str, got: Mapping[str, Any], expected: Sequence[str], cell: Cell) -> None:
    missing = [name for name in expected if name not in got]
    surplus = [name for name in got if name not in expected]
    if missing or surplus:
        both = (("no", missing), ("also", surplus))
        differences = (f"{what} {', '.join(names)}" for what, names in both if names)
        raise ValueError(
            f"{argument}: got {' and '.join(differences)}, expected {', '.join(expected)} for {describe_cell(cell)}; "
            "pass all of one recurrent module and nothing else, and a cell with its use_bias and reset"
        )


def _check_shapes(argument: str, arrays: Arrays, layout: Layout, cell: Cell) -> None:
    """Raises ValueError unless the arrays have the shapes in which a cell of zeros would be written."""
    hidden, (first, stacked) = cell.features, next(iter(parts_by_array(layout).items()))
    rows = arrays[first].shape[-1:] if layout.transposed else arrays[first].shape[:1]
    width = layout.input_width or max(sum(rows) - hidden * (len(stacked) - 1), 1)
    shapes = dict(zip(_PARTS, ((width, hidden), (hidden, hidden), (hidden,), (hidden,)), strict=True))
    zeros = {(part, gate): np.zeros(shape) for part, shape in shapes.items() for gate in layout.gates}
    for name, expected in _write(layout, zeros).items():
        if arrays[name].shape != expected.shape:
            raise ValueError(
                f"{argument}: got {name} of shape {arrays[name].shape}, expected {expected.shape} for "
                f"{describe_cell(cell)} and inputs of width {width}; the cell's features and reset must be those of "
                "the parameters"
            )


def describe_cell(cell: Cell) -> str:
    """A string with the cell's type and the settings that its parameters depend on, for error messages."""
    reset = f', reset="{cell.reset}"' if isinstance(cell, GRUCell) else ""
    return f"{type(cell).__name__}(features={cell.features}, use_bias={cell.use_bias}{reset})"
