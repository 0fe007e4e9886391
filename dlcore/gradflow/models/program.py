"""A loss as a program that JAX has traced, and the loops that it runs."""

import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dlcore.gradflow.models.cell_listener import CELL, STEP, CellListener
from dlcore.gradflow.models.scan_body import is_float
from dlcore.utils.checks import shown
from dlcore.utils.jaxprs import Trail, bind, evaluate, nested_programs, operations, scan_counts
from dlcore.utils.trees import named_leaves

LOOPS = frozenset(("scan", "while"))
LIBRARIES = tuple(
    f"{folder}{os.sep}"
    for folder in (*map(sysconfig.get_path, ("purelib", "platlib", "stdlib")), Path(__file__).parents[2])
)
PARAMS, OTHERS = frozenset(("params",)), frozenset(("others",))


class Program(NamedTuple):
    """A traced loss.

    Attributes:
        closed: the program.
        values: its arguments. The parameters come first.
        origins: `PARAMS` or `OTHERS` for each argument.
        names: the paths of the parameters by the ``id`` of their arrays.
        others: texts about cells that no recurrent layer ran by itself, see `CellListener`.
    """

    closed: core.ClosedJaxpr
    values: list[Any]
    origins: list[frozenset[str]]
    names: dict[int, str]
    others: list[str]

    def loss_with(self, trail: Trail, outputs: Sequence[Any]) -> jax.Array:
        """The loss if the operation at the end of the trail has these outputs."""
        reached = lambda here: all(one is other for one, other in zip(here, trail, strict=False))

        def apply(here: Trail, inputs: list[Any]) -> Sequence[Any]:
            return outputs if reached(here) else bind(here[-1], inputs)

        closed = self.closed
        loss: jax.Array = evaluate(closed.jaxpr, closed.consts, self.values, apply, reached)[0]
        return loss

    def input_origins(self) -> list[list[frozenset[str]]]:
        """What the inputs of each scan depend on, for all scans in their order."""
        found = []

        def apply(trail: Trail, inputs: list[Any]) -> list[frozenset[str]]:
            known = [one if isinstance(one, frozenset) else frozenset() for one in inputs]
            if trail[-1].primitive.name == "scan":
                found.append(known)
            return [frozenset().union(*known)] * len(trail[-1].outvars)

        of_consts = [OTHERS if self.values else PARAMS] * len(self.closed.consts)
        evaluate(self.closed.jaxpr, of_consts, self.origins, apply, leads_to_scan)
        return found


def trace_program(call: Callable[..., jax.Array], arguments: Sequence[Any]) -> Program:
    """Traces a loss. Its cells leave marks in the names of the program's operations.

    Raises:
        TypeError: the loss returns no array.
    """

    def mark(index: int, name: str, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        with jax.named_scope(f"{CELL}{index}_"):
            return run()

    listener = CellListener(mark)

    def traced(*arguments: Any) -> jax.Array:
        loss = listener.listen(lambda: call(*arguments))
        if not isinstance(loss, jax.Array | np.ndarray | np.generic | float):
            raise TypeError(f"loss: got {shown(loss)} returned, expected a scalar array")
        return loss

    arguments = jax.tree.map(jnp.asarray, tuple(arguments))
    closed = jax.make_jaxpr(traced)(*arguments)
    params = named_leaves(arguments[0]) if arguments else {}
    names = {id(leaf): name or "params" for name, leaf in params.items()}
    values = jax.tree.leaves(arguments)
    origins = [PARAMS] * len(params) + [OTHERS] * (len(values) - len(params))
    return Program(closed, values, origins, names, listener.others)


def leads_to_scan(trail: Trail) -> bool:
    """True if a call runs a scan, which can be replaced there.

    A function with a derivative of its own is one operation if it also runs a while loop, since that has no other
    derivative.
    """
    inner = {name for program in nested_programs(trail[-1].params) for name in operations(program)}
    loops = inner & LOOPS
    return loops == {"scan"} if trail[-1].primitive.name.startswith("custom") else bool(loops)


def why_unmeasured(equation: core.JaxprEqn) -> str | None:
    """Why gradient flow along a loop is not measured; None if it is."""
    if equation.primitive.name == "while":
        return "the number of its steps is known only when it runs; use jax.lax.scan"
    if equation.effects:
        return "it has effects, such as those of jax.debug.print"
    first, count = scan_counts(equation)
    if not any(map(is_float, equation.invars[first : first + count])):
        return "its state holds no floating point numbers"
    return None


def marks(trail: Trail, kind: str) -> set[int]:
    """The numbers of the marks of a kind, `CELL` or `STEP`, in the names of an operation and of its calls."""
    return {int(number) for one in trail for number in re.findall(rf"{kind}(\d+)_", _scope(one))}


def name_of(trail: Trail) -> str:
    """The path of the modules that run an operation, such as ``Model/RNN_0``; the source line if there is no path."""
    path = "/".join(map(_scope, trail))
    while path != (path := re.sub(r"\w+\(([^()]*)\)", r"\1", path)):  # such as vmap(Model)
        pass
    parts: list[str] = []
    for part in path.split("/"):
        # Flax calls a method of a module "decoder.step", after "decoder".
        module, _, method = part.partition(".")
        inside = method and parts and parts[-1] == module
        if module and not inside and not re.fullmatch(rf"({CELL}|{STEP})\d+_", part):
            parts.append(module)
    return "/".join(parts) or source_of(trail) or trail[-1].primitive.name


def source_of(trail: Trail) -> str:
    """The innermost source line outside of libraries that runs an operation, such as ``model.py:12``; "" if unknown."""
    lines = [line for equation in reversed(trail) for line in _lines(equation)]
    own = (line for line in lines if not line[0].startswith((*LIBRARIES, "<frozen")))
    file, number = next(own, ("", 0))
    return f"{Path(file).name}:{number}" if file else ""


def _lines(equation: core.JaxprEqn) -> Iterator[tuple[str, int]]:
    """The file and line of each frame that led to an operation, innermost first."""
    found = equation.source_info.traceback
    frames = traceback.walk_tb(found.as_python_traceback() if found else None)
    return ((frame.f_code.co_filename, line) for frame, line in reversed(list(frames)))


def _scope(equation: core.JaxprEqn) -> str:
    return str(equation.source_info.name_stack)
