"""Where torch, flax, haiku and keras keep a recurrent cell's values, and how they come from one place to another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from dlcore.layers.recurrent.cells import Cell, GRUCell, LSTMCell, ResidualRNNCell, RNNCell

Arrays: TypeAlias = dict[str, np.ndarray]
Values: TypeAlias = dict[tuple[str, str], np.ndarray]
"""One cell's arrays by part and gate, alike for all libraries."""

_PARTS = ("input_kernel", "recurrent_kernel", "bias", "recurrent_bias")


class Layout(NamedTuple):
    """Where a library keeps the values of one cell.

    Attributes:
        gates: their order, in the letters of our equations; the plain cell's one is "h", the GRU's g is "n".
        names: of the arrays, by part. Parts of one name lie below each other; with "{}" each gate has its own.
        twice: the gates that have a recurrent bias besides the bias.
        transposed: whether gates lie below each other, not side by side.
        negated: the gates whose sigma is our 1 - sigma, as sigma(-x) = 1 - sigma(x).
        forget_bias: what the library adds to f by itself.
        always_bias: whether every cell has biases; zeros then stand for ours that has none.
        inputs: F where it is known, as within a stack.
    """

    gates: str
    names: tuple[str, ...]
    twice: str = ""
    transposed: bool = False
    negated: str = ""
    forget_bias: float = 0.0
    always_bias: bool = False
    inputs: int | None = None


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


def layouts(cell: Cell, library: str) -> tuple[Layout, Layout]:
    """Ours and the library's, for this cell; an error where the library has no such cell."""
    kind, known = kind_of(cell), LIBRARIES[library]
    if kind not in known:
        other = {"gru before": "after", "gru after": "before"}[kind]
        raise ValueError(
            f'cell: got {shown(cell)}, expected reset="{other}": {library} resets {other} the product; only '
            f'a GRUCell(features={cell.features}, reset="{other}") has the same equations'
        )
    ours, theirs = _OURS[kind], known[kind]
    if not cell.use_bias:
        ours, theirs = (
            layout if layout.always_bias else layout._replace(names=layout.names[:2])
            for layout in (ours, theirs)
        )
    return ours, theirs


def kind_of(cell: Cell) -> str:
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
            f'cell: got RNNCell(connections="{cell.connections}"), expected "full", as the other libraries have it; '
            "convert the full kernel, with zeros where there is no connection, for a full RNNCell"
        )
    return "rnn"


def convert_arrays(
    argument: str, leaves: Mapping[str, Any], pairs: Sequence[tuple[Layout, Layout]], cell: Cell
) -> Arrays:
    """The arrays of each pair's first layout, checked, in its second one."""
    _check_names(argument, leaves, [name for source, _ in pairs for name in pieces(source)], cell)
    arrays = {name: _array(leaf) for name, leaf in leaves.items()}
    converted: Arrays = {}
    for source, target in pairs:
        _check_shapes(argument, arrays, source, cell)
        values = _with_biases(argument, _read(source, arrays, cell), target, cell)
        converted |= _write(target, values)
    return converted


def _array(leaf: Any) -> np.ndarray:
    for method in ("detach", "cpu"):  # of a torch tensor, which may ask for a gradient or lie on a GPU
        leaf = getattr(leaf, method)() if hasattr(leaf, method) else leaf
    return np.asarray(leaf)


def pieces(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    """Each array's name, with the parts and gates in it: parts below each other, gates side by side."""
    pieces: dict[str, list[tuple[str, str]]] = {}
    for part, name in zip(_PARTS, layout.names, strict=False):
        gates = layout.twice if part == "recurrent_bias" else layout.gates
        if "{}" in name:
            pieces |= {name.format(gate): [(part, gate)] for gate in gates}
        elif gates:
            pieces.setdefault(name, []).append((part, gates))
    return pieces


def _read(layout: Layout, arrays: Arrays, cell: Cell) -> Values:
    values: Values = {}
    for name, rows in pieces(layout).items():
        array = arrays[name].T if layout.transposed else arrays[name]
        # Of two kernels the recurrent one has the last H rows, of two biases the last one.
        last = cell.features if "kernel" in rows[0][0] else 1
        blocks = np.split(array, [-last]) if len(rows) == 2 else [array]
        for (part, gates), block in zip(rows, blocks, strict=True):
            sides = np.split(block if "kernel" in part else block.reshape(-1), len(gates), axis=-1)
            values |= {(part, gate): side for gate, side in zip(gates, sides, strict=True)}
    return _in_other_signs(layout, values, layout.forget_bias)


def _write(layout: Layout, values: Values) -> Arrays:
    values, arrays = _in_other_signs(layout, values, -layout.forget_bias), {}
    for name, rows in pieces(layout).items():
        blocks = [[values[part, gate] for gate in gates] for part, gates in rows]
        array = np.block(blocks if len(blocks) == 2 else blocks[0])
        arrays[name] = np.ascontiguousarray(array.T) if layout.transposed else array
    return arrays


def _in_other_signs(layout: Layout, values: Values, forget_bias: float) -> Values:
    """From the library's gates to ours, or back, as negating is its own inverse."""
    values = {key: -value if key[1] in layout.negated else value for key, value in values.items()}
    if forget_bias:
        values["bias", "f"] = values["bias", "f"] + forget_bias
    return values


def _with_biases(argument: str, values: Values, target: Layout, cell: Cell) -> Values:
    """With the biases that the target has: the sum of two, or one and zeros."""
    values, zeros = dict(values), np.zeros_like(values["input_kernel", target.gates[0]], shape=cell.features)
    for gate in target.gates:
        bias, recurrent = (values.get((part, gate), zeros) for part in _PARTS[2:])
        if not cell.use_bias and (bias.any() or recurrent.any()):
            raise ValueError(
                f"{argument}: got biases other than 0, expected none for {shown(cell)}; set use_bias=True"
            )
        both = (bias, recurrent) if gate in target.twice else (bias + recurrent, zeros)
        values["bias", gate], values["recurrent_bias", gate] = both
    return values


def _check_names(argument: str, got: Mapping[str, Any], expected: Sequence[str], cell: Cell) -> None:
    missing, surplus = [n for n in expected if n not in got], [n for n in got if n not in expected]
    if missing or surplus:
        both = (("no", missing), ("also", surplus))
        differ = (f"{what} {', '.join(names)}" for what, names in both if names)
        raise ValueError(
            f"{argument}: got {' and '.join(differ)}, expected {', '.join(expected)} for {shown(cell)}; pass all "
            "of one recurrent module and nothing else, and a cell with its use_bias and reset"
        )


def _check_shapes(argument: str, arrays: Arrays, layout: Layout, cell: Cell) -> None:
    """What a cell of zeros is written as has the shapes that are expected."""
    hidden, (first, rows) = cell.features, next(iter(pieces(layout).items()))
    of_inputs = arrays[first].shape[-1:] if layout.transposed else arrays[first].shape[:1]
    inputs = layout.inputs or max(sum(of_inputs) - hidden * (len(rows) - 1), 1)
    shapes = dict(zip(_PARTS, ((inputs, hidden), (hidden, hidden), (hidden,), (hidden,)), strict=True))
    zeros = {(part, gate): np.zeros(shape) for part, shape in shapes.items() for gate in layout.gates}
    for name, expected in _write(layout, zeros).items():
        if arrays[name].shape != expected.shape:
            raise ValueError(
                f"{argument}: got {name} of shape {arrays[name].shape}, expected {expected.shape} for "
                f"{shown(cell)} and inputs of width {inputs}; the cell's features and reset must be those of the "
                "parameters"
            )


def shown(cell: Cell) -> str:
    reset = f', reset="{cell.reset}"' if isinstance(cell, GRUCell) else ""
    return f"{type(cell).__name__}(features={cell.features}, use_bias={cell.use_bias}{reset})"
