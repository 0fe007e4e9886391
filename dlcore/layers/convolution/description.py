"""The sizes, parameters and receptive fields of a stack, computed from its blocks without running it."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dlcore.layers.convolution.block import ConvBlock, WindowMove, check_blocks, check_shortcut
from dlcore.layers.convolution.stack import ConvStack
from dlcore.ops.convolution import check_shapes
from dlcore.ops.dimensions import entries_of
from dlcore.utils.checks import check_integer, shown


class Row(NamedTuple):
    """One layer of a `Description`: a convolution, a norm, the projection of a shortcut, or a pool.

    Attributes:
        name: the index of the block and what the layer is, as in "0: conv 3x3".
        output_size: shape of the layer's output, ``(*spatial, channels)``.
        receptive_field: number of input pixels that one output sees, for each spatial dimension.
        strides: strides for each spatial dimension; a norm or projection repeats those of its convolution.
        weights: number of weights, or of a norm's factors.
        biases: number of biases.
        multiply_adds: number of multiplications with addition for one example; 0 for norms and pools.
        dense_weights: number of weights that a fully connected layer between the same numbers of units would need
            (lecture: convolution vs fully connected); 0 for norms, projections and pools.
    """

    name: str
    output_size: tuple[int, ...]
    receptive_field: tuple[int, ...]
    strides: tuple[int, ...]
    weights: int = 0
    biases: int = 0
    multiply_adds: int = 0
    dense_weights: int = 0


class Description(NamedTuple):
    """The layers of a stack for inputs of one shape; ``print`` shows it as a table.

    Attributes:
        rows: the layers in order.
    """

    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """The number of weights and biases of all layers, an int."""
        return sum(row.weights + row.biases for row in self.rows)

    def __rich__(self) -> Table:
        table = Table(
            "layer", "output", "sees", "stride", title="convolution vs fully connected", show_footer=True
        )
        totals = [sum(column) for column in zip(*(row[4:] for row in self.rows), strict=True)]
        table.columns[0].footer = "total"
        for name, total in zip(("weights", "biases", "multiply-adds", "dense weights"), totals, strict=True):
            table.add_column(name, footer=f"{total:,}", justify="right")
        for row in self.rows:
            counts = (f"{count:,}" if count else "-" for count in row[4:])
            table.add_row(row.name, *map(_times, row[1:4]), *counts)
        return table

    def __str__(self) -> str:
        console = Console(width=120, color_system=None, force_terminal=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get()


def describe(stack: ConvStack | Sequence[ConvBlock], input_shape: Sequence[int]) -> Description:
    """A `Description` of the layers of a stack, computed without running it; print it to see a table.

    Args:
        stack: a stack or its blocks.
        input_shape: the shape ``[*spatial, C]`` of one input, without the batch.

    Raises:
        ValueError: there is no block, a window does not fit or its stride does not divide, the groups or the shortcut
            of a residual block do not fit, an entry of ``input_shape`` is below 1, or ``input_shape`` has another rank
            than the stack.
        TypeError: the stack is neither, or ``input_shape`` is not a sequence of integers.

    >>> description = describe([ConvBlock(2, 3, padding="VALID")], (6, 6, 1))  # the lecture's: 4 x 4 x 2 maps
    >>> [(row.name, row.output_size, row.weights, row.biases) for row in description.rows]
    [('0: conv 3x3', (4, 4, 2), 18, 2), ('0: max-pool 2x2', (2, 2, 2), 0, 0)]
    """
    rows: list[Row] = []
    if entries_of(input_shape) is None:
        raise TypeError(f"input_shape: got {shown(input_shape)}, expected the shape (*spatial, channels)")
    shape = tuple(check_integer("input_shape", size) for size in input_shape)
    view = View.of_input(len(shape) - 1)
    for index, block in enumerate(_blocks(stack)):
        rows += (row._replace(name=f"{index}: {row.name}") for row in _block_rows(block, shape, view))
        shape, view = rows[-1].output_size, functools.reduce(View.through, block.window_moves(), view)
    return Description(tuple(rows))


def receptive_field(stack: ConvStack | Sequence[ConvBlock]) -> tuple[int, ...]:
    """The number of input pixels that one output sees, a tuple with one int for each spatial dimension.

    ``r <- r + (F - 1) * dilation * j``, ``j <- j * S`` over all convolutions and pools, beginning with r = j = 1.

    Raises:
        ValueError: there is no block, or the blocks have different ranks.
        TypeError: the stack is neither a stack nor a sequence of blocks.

    >>> receptive_field([ConvBlock(8, 3), ConvBlock(8, 3)])
    (10, 10)
    """
    blocks = _blocks(stack)
    view = View.of_input(len(next(blocks[0].window_moves()).window))
    for block in blocks:
        view = functools.reduce(View.through, block.window_moves(), view)
    return view.field


def parameter_count(stack: ConvStack | Sequence[ConvBlock], input_shape: Sequence[int]) -> int:
    """The number of weights and biases of a stack, an int. Arguments and errors are those of `describe`.

    A convolution over images has F * F * D1 * K + K (lecture: key parameters), with D1 / groups in place of D1 if it
    has groups. A norm replaces its K biases by 2 K numbers, and the projection of a shortcut has weights of its own.

    >>> parameter_count([ConvBlock(7, 3)], (8, 8, 5))
    322
    """
    return describe(stack, input_shape).parameters


class View(NamedTuple):
    """What an output sees of the input; each field has one entry for each spatial dimension.

    Attributes:
        field: r, the receptive field in input pixels.
        jump: j, the distance in input pixels between two neighboring outputs.
    """

    field: tuple[int, ...]
    jump: tuple[int, ...]

    @classmethod
    def of_input(cls, rank: int) -> "View":
        """The `View` before the first window, in ``rank`` dimensions: r = j = 1, each pixel sees itself."""
        return cls((1,) * rank, (1,) * rank)

    def through(self, move: WindowMove) -> "View":
        """The `View` after one more convolution or pool, ``move``."""
        dimensions = zip(self.field, move.window, move.dilation, self.jump, strict=True)
        field = tuple(seen + (cells - 1) * spread * jump for seen, cells, spread, jump in dimensions)
        return View(field, tuple(jump * stride for jump, stride in zip(self.jump, move.strides, strict=True)))


def _blocks(stack: ConvStack | Sequence[ConvBlock]) -> Sequence[ConvBlock]:
    return check_blocks("stack", stack.blocks if isinstance(stack, ConvStack) else stack)


def _block_rows(block: ConvBlock, block_input: tuple[int, ...], view: View) -> Iterator[Row]:
    """The rows of one block for an input shape ``[*spatial, C]``."""
    shape = block_input
    for index, move in enumerate(block.window_moves()):
        before, shape = shape, _output_shape(block, move, shape)
        view = view.through(move)
        row = Row(_times(move.window), shape, view.field, move.strides)
        if move.kind == "pool":
            yield row._replace(name=f"{block.pool_kind}-pool {row.name}")
            continue
        places = math.prod(shape[:-1])
        kernel_shape = (*move.window, before[-1] // block.groups, block.features)
        check_shapes((1, *before), kernel_shape, block.groups)
        weights = math.prod(kernel_shape)
        yield row._replace(
            name=f"conv {row.name}",
            weights=weights,
            biases=0 if block.norm else block.features,
            multiply_adds=weights * places,
            dense_weights=math.prod(before) * math.prod(shape),
        )
        if block.norm:
            yield row._replace(name=f"{block.norm} norm", weights=block.features, biases=block.features)
        if block.residual and index == block.convolutions - 1 and shape != block_input:
            check_shortcut(block, block_input[:-1], shape[:-1])
            weights = block_input[-1] * block.features
            yield row._replace(name="projection", weights=weights, multiply_adds=weights * places)


def _output_shape(block: ConvBlock, move: WindowMove, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(move.window) != len(input_shape) - 1:
        raise ValueError(
            f"input_shape: got {input_shape}, expected {len(move.window)} spatial dimensions and the channels"
        )
    outputs = move.geometry(input_shape[:-1], block.remainder).outputs
    return (*outputs, block.features if move.kind == "conv" else input_shape[-1])


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))
