"""Finds the loops of a program: the scans that are measured, and what is not measured, with the reason."""

from typing import Any, NamedTuple

from jax.extend import core

from dlcore.gradflow.models.cell_listener import CELL, STEP
from dlcore.gradflow.models.program import (
    LOOPS,
    Program,
    leads_to_scan,
    marks,
    name_of,
    source_of,
    why_unmeasured,
)
from dlcore.utils.jaxprs import Trail, bind, evaluate, nested_programs, scan_counts


class Scan(NamedTuple):
    """One scan that a program runs.

    Attributes:
        trail: the operation, after the calls that lead to it.
        inputs: the values of its constants, its first carry and its sequences.
        outputs: the values of its last carry and its outputs.
        origins: for each input, what it depends on: the parameters, something else that the program is given, or both.
        cells: the number of cells of recurrent layers that have run before it.
    """

    trail: Trail
    inputs: list[Any]
    outputs: list[Any]
    origins: list[frozenset[str]]
    cells: int


def find_scans(program: Program) -> tuple[list[Scan], list[str]]:
    """Finds the scans of a program in the order in which they run.

    Returns:
        A pair: the scans that can be measured, and texts about all loops and cells that are not measured. What the
        cells of recurrent layers run is in neither.
    """
    walk = _Walk(program)
    evaluate(program.closed.jaxpr, program.closed.consts, program.values, walk.apply, leads_to_scan)
    # flax traces the cell of a scan twice, once outside of the scan
    alone, looped = ({program.others[index] for index in cells} for cells in (walk.alone, walk.looped))
    by_hand = [text for text in program.others if text in alone - looped]
    return walk.scans, list(dict.fromkeys([*walk.unmeasured, *by_hand]))


class _Walk:
    """Evaluates the operations of a program and keeps what it finds.

    Attributes:
        scans: the scans to be measured.
        unmeasured: texts about other loops.
        alone: the indices of cells that run outside of any loop.
        looped: the indices of cells that run in a loop or run one.
    """

    def __init__(self, program: Program):
        self.scans: list[Scan] = []
        self.unmeasured: list[str] = []
        self.alone: set[int] = set()
        self.looped: set[int] = set()
        self._origins, self._cells = iter(program.input_origins()), 0

    def apply(self, trail: Trail, inputs: list[Any]) -> list[Any]:
        equation, cells = trail[-1], marks(trail, CELL)
        outputs, kind = bind(equation, inputs), equation.primitive.name
        origins = next(self._origins) if kind == "scan" else []
        self._cells = max(self._cells, *(cell + 1 for cell in cells), 0)
        if cells:
            return outputs
        reason = why_unmeasured(equation) if kind in LOOPS else None
        if kind == "scan" and reason is None:
            self.scans.append(Scan(trail, inputs, outputs, origins, self._cells))
            self._look_into(trail, f"each step of {name_of(trail)} contains it", True)
        else:
            self._list(trail, reason)
            mapped = "lax.map, which has no state; jax.vmap runs all rows at once"
            self._look_into(trail, f"it runs within {mapped if _is_map(equation) else kind}", kind in LOOPS)
        return outputs

    def _look_into(self, trail: Trail, reason: str, looped: bool) -> None:
        """Notes the cells of an operation and of everything in it, and lists the loops in it."""
        (self.looped if looped else self.alone).update(marks(trail, STEP))
        for program in nested_programs(trail[-1].params):
            for equation in program.eqns:
                is_loop = equation.primitive.name in LOOPS
                self._list((*trail, equation), reason if is_loop else None)
                self._look_into((*trail, equation), reason, looped or is_loop)

    def _list(self, trail: Trail, reason: str | None) -> None:
        if reason is None or _is_map(trail[-1]):
            return
        name, source = name_of(trail), source_of(trail)
        place = f" at {source}" if source not in ("", name) else ""
        self.unmeasured.append(f"{name} ({trail[-1].primitive.name}{place}: {reason})")


def _is_map(equation: core.JaxprEqn) -> bool:
    """True if an operation is a scan without a carry, as ``jax.lax.map`` is."""
    return equation.primitive.name == "scan" and scan_counts(equation)[1] == 0
