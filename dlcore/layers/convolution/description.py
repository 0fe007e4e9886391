"""What a stack is made of and how far it sees, computed from its blocks alone."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dlcore.layers.convolution.stack import ConvBlock, ConvStack, WindowStep
from dlcore.ops import sizes
from dlcore.utils.checks import check_integer


class Row(NamedTuple):
    """One layer of a `Description`; sizes and receptive fields have one entry a spatial dimension."""

    name: str
    output_size: tuple[int, ...]
    receptive_field: tuple[int, ...]
    strides: tuple[int, ...]
    weights: int = 0
    biases: int = 0
    multiply_adds: int = 0
    dense_weights: int = 0


class Description(NamedTuple):
    """The layers of a stack over one input, with a row each; prints as a table.

    Attributes:
        rows: the layers in order. ``output_size`` includes the channels; ``multiply_adds`` are for one example;
            ``dense_weights`` is what a fully connected layer between the same numbers of units would need
            (lecture: convolution vs fully connected).
    """

    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """All weights and biases."""
        return sum(row.weights + row.biases for row in self.rows)

    def __rich__(self) -> Table:
        table = Table(
            "layer", "output", "sees", "stride", title="convolution vs fully connected", show_footer=True
        )
        numbers = [row[4:] for row in self.rows]
        totals = [sum(column) for column in zip(*numbers, strict=True)]
        table.columns[0].footer = "total"
        for name, total in zip(("weights", "biases", "multiply-adds", "dense weights"), totals, strict=True):
            table.add_column(name, footer=f"{total:,}", justify="right")
        for row in self.rows:
            shown = (f"{number:,}" if number else "-" for number in row[4:])
            table.add_row(row.name, *map(_times, row[1:4]), *shown)
        return table

    def __str__(self) -> str:
        console = Console(width=120, color_system=None, force_terminal=False)
        with console.capture() as captured:
            console.print(self)
        return captured.get()


def describe(stack: ConvStack | Sequence[ConvBlock], input_shape: Sequence[int]) -> Description:
    """The layers of a stack over inputs ``[*spatial, C]``, without the batch; print it to see a table.

    Raises:
        ValueError: a window does not fit, or ``input_shape`` has another rank than the stack.

    >>> description = describe([ConvBlock(2, 3, padding="VALID")], (6, 6, 1))  # the lecture's: 4 x 4 x 2 maps
    >>> [(row.name, row.output_size, row.weights, row.biases) for row in description.rows]
    [('0: conv 3x3', (4, 4, 2), 18, 2), ('0: max-pool 2x2', (2, 2, 2), 0, 0)]
    """
    rows: list[Row] = []
    shape = tuple(check_integer("input_shape", size) for size in input_shape)
    seen = Seen.nothing(len(shape) - 1)
    for number, block in enumerate(_blocks(stack)):
        rows += (row._replace(name=f"{number}: {row.name}") for row in _rows(block, shape, seen))
        shape, seen = rows[-1].output_size, functools.reduce(Seen.through, block.steps(), seen)
    return Description(tuple(rows))


def receptive_field(stack: ConvStack | Sequence[ConvBlock]) -> tuple[int, ...]:
    """How many input pixels one output sees, one number a spatial dimension.

    ``r <- r + (F - 1) * dilation * j``, ``j <- j * S`` over all convolutions and pools, beginning with 1 and 1.

    >>> receptive_field([ConvBlock(8, 3), ConvBlock(8, 3)])
    (10, 10)
    """
    blocks = _blocks(stack)
    seen = Seen.nothing(len(next(blocks[0].steps()).window))
    for block in blocks:
        seen = functools.reduce(Seen.through, block.steps(), seen)
    return seen.field


def parameter_count(stack: ConvStack | Sequence[ConvBlock], input_shape: Sequence[int]) -> int:
    """Weights and biases of a stack: F * F * D1 * K + K for each convolution (lecture: key parameters).

    >>> parameter_count([ConvBlock(7, 3)], (8, 8, 5))
    322
    """
    return describe(stack, input_shape).parameters


class Seen(NamedTuple):
    """The receptive field and the distance, in input pixels, between two neighboring outputs."""

    field: tuple[int, ...]
    jump: tuple[int, ...]

    @classmethod
    def nothing(cls, rank: int) -> "Seen":
        return cls((1,) * rank, (1,) * rank)

    def through(self, step: WindowStep) -> "Seen":
        wider = zip(self.field, step.window, step.dilation, self.jump, strict=True)
        field = tuple(seen + (cells - 1) * spread * jump for seen, cells, spread, jump in wider)
        return Seen(field, tuple(a * b for a, b in zip(self.jump, step.strides, strict=True)))


def _blocks(stack: ConvStack | Sequence[ConvBlock]) -> Sequence[ConvBlock]:
    blocks = stack.blocks if isinstance(stack, ConvStack) else stack
    if not blocks:
        raise ValueError("stack: got no block, expected at least one")
    return blocks


def _rows(block: ConvBlock, entered: tuple[int, ...], seen: Seen) -> Iterator[Row]:
    shape = entered
    for number, step in enumerate(block.steps()):
        if len(step.window) != len(shape) - 1:
            raise ValueError(
                f"input_shape: got {shape}, expected {len(step.window)} spatial dimensions and the channels"
            )
        name = "kernel_size" if step.kind == "conv" else "pool"
        places = sizes.geometry(shape[:-1], *step[1:], block.remainder, name=name).outputs
        before, shape = shape, (*places, block.features if step.kind == "conv" else shape[-1])
        seen = seen.through(step)
        row = Row(_times(step.window), shape, seen.field, step.strides)
        if step.kind == "pool":
            yield row._replace(name=f"{block.pool_kind}-pool {row.name}")
            continue
        weights = math.prod(step.window) * before[-1] // block.groups * block.features
        yield row._replace(
            name=f"conv {row.name}",
            weights=weights,
            biases=0 if block.norm else block.features,
            multiply_adds=weights * math.prod(places),
            dense_weights=math.prod(before) * math.prod(shape),
        )
        if block.norm:
            yield row._replace(name=f"{block.norm} norm", weights=block.features, biases=block.features)
        if block.residual and number == block.convolutions - 1 and shape != entered:
            weights = entered[-1] * block.features
            adds = weights * math.prod(places)
            yield row._replace(name="projection", weights=weights, multiply_adds=adds)


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))
