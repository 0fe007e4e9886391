"""The plan of a sweep: which configurations there are, and what is measured for each.

A sweep has few shapes and many numbers. A scale, a bias or a seed changes no shape, so one compiled program can take
them as arguments. A `Group` is the configurations of one program; a `Sweep` is all groups of one table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import numpy as np

from dlcore.config.text import to_text
from dlcore.sweep.table import Row
from dlcore.utils.checks import check_callable, check_instance, check_number, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tree: TypeAlias = Any
MeasureFunction: TypeAlias = Callable[[Tree, dict[str, jax.Array]], Mapping[str, jax.Array]]
"""``arrays, numbers -> {name: scalar}`` of one configuration; see `Group`."""


class SharedInputs(NamedTuple):
    """What several configurations of a group have in common, such as a seed and the data that it makes.

    Attributes:
        labels: columns of the table, such as ``{"seed": 0}``.
        arrays: a pytree of arrays or numbers, the first argument of `Group.measure`. It is in memory once on
            each device.
    """

    labels: Mapping[str, Any]
    arrays: Tree


class Group(NamedTuple):
    """Configurations that one compiled program measures: every entry of ``shared`` with every entry of ``numbers``.

    Attributes:
        measure: ``measure(arrays, numbers) -> {name: scalar}`` of one configuration. It must be pure and hashable.
            Equal functions are compiled once in a process.
        settings: by name what is compiled in, such as a cell and a length: columns of the table.
        shared: what several configurations have in common; all entries have arrays of the same shapes and dtypes.
        numbers: one entry for each configuration, its numbers by name, over which the program is vectorized. They are
            columns of the table, and, as float32 scalars, the second argument of `measure`.
        bytes_each: roughly how many bytes of memory a configuration takes.

    >>> def power(arrays, numbers):
    ...     return {"power": arrays ** numbers["exponent"]}
    >>> shared = [SharedInputs({"base": base}, base) for base in (2.0, 3.0)]
    >>> group = Group(power, {"kind": "power"}, shared, [{"exponent": 1.0}, {"exponent": 2.0}], bytes_each=8)
    >>> [(row["base"], row["exponent"]) for row in group.configurations()]
    [('2.0', '1.0'), ('2.0', '2.0'), ('3.0', '1.0'), ('3.0', '2.0')]
    """

    measure: MeasureFunction
    settings: Mapping[str, Any]
    shared: Sequence[SharedInputs]
    numbers: Sequence[Mapping[str, float]]
    bytes_each: int

    def configurations(self) -> list[Row]:
        """A list of all configurations: rows of the table, dicts of texts by column, without what is measured."""
        return [row for shared in self.shared for row in self.configurations_of(shared)]

    def configurations_of(self, shared: SharedInputs) -> list[Row]:
        """A list like `configurations` of those with these shared inputs, one for each entry of ``numbers``."""
        rows = [{**self.settings, **shared.labels, **numbers} for numbers in self.numbers]
        return [{name: to_text(value) for name, value in row.items()} for row in rows]


class Sweep(NamedTuple):
    """What is measured, and the figures that are made of it.

    Attributes:
        groups: the groups that together hold all configurations.
        settings: columns that identify a configuration; a row's text is empty where a setting does not apply.
        measures: the other columns, the names that every `Group.measure` returns.
        figures: ``figures(rows) -> {name: matplotlib figure}``, made from the table's rows; the default makes none.
    """

    groups: Sequence[Group]
    settings: Sequence[str]
    measures: Sequence[str]
    figures: Callable[[list[Row]], Mapping[str, "Figure"]] = lambda rows: {}


def check_sweep(sweep: Sweep) -> None:
    """Checks a sweep before anything is measured.

    Raises:
        ValueError: two shared inputs of a group have other arrays, or a group has numbers of different names, a column
            that is not among the settings, or bytes_each that is not above 0.
        TypeError: a part of the sweep has another type than `Sweep` and `Group` say, a measure that is not hashable
            included.
    """
    check_instance("sweep", sweep, Sweep, "a Sweep(groups, settings, measures)")
    check_callable("figures", sweep.figures, "lambda rows: {}")
    _check_sequence("groups", sweep.groups)
    for group in sweep.groups:
        check_instance("groups", group, Group, "a Group(measure, settings, shared, numbers, bytes_each)")
        check_number("bytes_each", group.bytes_each, "(0, inf)")
        check_callable("measure", group.measure, "a function arrays, numbers -> {name: scalar}")
        try:
            hash(group.measure)
        except TypeError:
            raise TypeError(
                f"measure: got {shown(group.measure)}, which is not hashable; make it a function or a frozen dataclass "
                "with hashable fields"
            ) from None
        check_instance("settings", group.settings, Mapping, 'a dict such as {"cell": "gru"}')
        _check_numbers(group.numbers)
        _check_shared(group.shared)
        for name in {name for row in group.configurations() for name in row} - set(sweep.settings):
            raise ValueError(
                f"settings: got {', '.join(sweep.settings)}, expected {name}, too, which a group has"
            )


def _check_sequence(name: str, entries: Any) -> None:
    check_instance(name, entries, Sequence, "a list or tuple")


def _check_numbers(numbers: Sequence[Mapping[str, float]]) -> None:
    _check_sequence("numbers", numbers)
    for entry in numbers:
        check_instance("numbers", entry, Mapping, "a dict of numbers by name for each configuration")
        if set(entry) != set(numbers[0]):
            raise ValueError(
                f"numbers: got {sorted(entry)} and {sorted(numbers[0])}, expected the same names"
            )
        for name, value in entry.items():
            check_number(f"numbers: {name}", value, "[-inf, inf]")


def _check_shared(shared: Sequence[SharedInputs]) -> None:
    _check_sequence("shared", shared)
    shapes = []
    for entry in shared:
        check_instance("shared", entry, SharedInputs, "SharedInputs(labels, arrays)")
        check_instance("labels", entry.labels, Mapping, 'a dict such as {"seed": 0}')
        shapes.append(jax.tree.map(lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype), entry.arrays))
        if shapes[-1] != shapes[0]:
            raise ValueError(
                f"shared: got arrays {shapes[0]} and {shapes[-1]}, expected equal shapes and dtypes"
            )
