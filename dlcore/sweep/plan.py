"""TODO."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax

from dlcore.config.text import to_text
from dlcore.sweep.table import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Tree: TypeAlias = Any


Measure: TypeAlias = Callable[[Tree, dict[str, jax.Array]], Mapping[str, jax.Array]]


class Group(NamedTuple):
    """Configurations that one compiled program measures.

    Attributes:
        measure: ``measure(shared, own) -> {name: scalar}`` of one configuration, pure and hashable: equal ones are
            compiled once in a process.
        settings: what is compiled in, such as a cell and a length: columns of the table.
        shared: what several configurations have in common, such as a seed: their columns of the table, and the pytree
            of arrays that is `measure`'s first argument, and which they share in memory, too.
        own: the numbers of each configuration beside that: columns of the table, and `measure`'s second argument.
        bytes_each: about how much memory a configuration takes.
    """

    measure: Measure
    settings: Mapping[str, Any]
    shared: Sequence[tuple[Mapping[str, Any], Tree]]
    own: Sequence[Mapping[str, float]]
    bytes_each: int

    def points(self) -> list[Row]:
        """All configurations as the table has them, without what is measured."""
        return [point for labels, _ in self.shared for point in self.points_with(labels)]

    def points_with(self, labels: Mapping[str, Any]) -> list[Row]:
        """Those with these shared columns."""
        rows = [{**self.settings, **labels, **numbers} for numbers in self.own]
        return [{name: to_text(value) for name, value in row.items()} for row in rows]


class Sweep(NamedTuple):
    """What is measured, and what is made of it.

    Attributes:
        groups: all configurations.
        settings: the table's columns that tell them apart; of one that has no such setting it is empty.
        measures: its further columns, the names that every `Group.measure` returns.
        figures: ``figures(rows) -> {name: matplotlib figure}``, of the table's rows.
    """

    groups: Sequence[Group]
    settings: Sequence[str]
    measures: Sequence[str]
    figures: Callable[[list[Row]], Mapping[str, "Figure"]] = lambda rows: {}
