"""The body of a scan as one flat program, of which only the part after the new state can be run.

The loss depends on a scan through its outputs y_t. As a function of the states alone, y_t is computed from the new
state s_t wherever the body computes it from there. So the derivative of the loss by s_t is the direct one, at its own
step, and a parameter that only reads the state out has no part in the recurrence.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dlcore.utils.jaxprs import Trail, bind, evaluate, scan_counts


class ScanBody(NamedTuple):
    """One step of a scan: constants, carry and x_t, one after the other, to the new carry and y_t.

    Attributes:
        program: the step without nested calls, in which equal operations are one.
        consts: the values that the program has closed over.
        num_consts: the number of constants among its arguments; the carry begins there.
        num_carry: the number of arrays in the carry; y_t begins there among its results.
    """

    program: core.Jaxpr
    consts: Sequence[Any]
    num_consts: int
    num_carry: int

    @property
    def carry_before(self) -> list[Any]:
        return self.program.invars[self.num_consts : self.num_consts + self.num_carry]

    @property
    def carry_after(self) -> list[Any]:
        return self.program.outvars[: self.num_carry]

    @property
    def computed(self) -> set[core.Var]:
        """The variables of the new carry that the step computes: no argument and no number."""
        computed = {variable for equation in self.program.eqns for variable in equation.outvars}
        return {one for one in self.carry_after if _is_variable(one) and one in computed}

    @property
    def outputs(self) -> list[Any]:
        return self.program.outvars[self.num_carry :]

    @property
    def shapes(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """The shapes of all arguments and of all results."""
        atoms: list[list[Any]] = [self.program.invars, self.program.outvars]
        arguments, results = ([atom.aval.shape for atom in some] for some in atoms)
        return arguments, results

    def run(self, values: Sequence[Any], after: Mapping[core.Var, Any] | None = None) -> list[Any]:
        """The new carry and y_t.

        Args:
            values: constants, carry and x_t.
            after: values of variables of the new carry; what the body computes from these variables follows from them.
        """
        given = after or {}
        same = self._same_cases(given)

        def apply(trail: Trail, inputs: list[Any]) -> list[Any]:
            equation = trail[-1]
            for place, atom in enumerate(equation.invars):
                if _case(equation, place, atom) in same:
                    inputs[place] = given[same[_case(equation, place, atom)]]
            return [
                given.get(variable, value)
                for variable, value in zip(equation.outvars, bind(equation, inputs), strict=True)
            ]

        return evaluate(self.program, self.consts, values, apply, _has_jax_derivative)

    def sources(self, results: Sequence[Any], cut: Collection[core.Var] = ()) -> set[core.Var]:
        """The variables by which the results may have a derivative, on other ways than through those in ``cut``."""
        same = self._same_cases(cut)
        passes = lambda equation, place, atom: atom not in cut and _case(equation, place, atom) not in same
        return sources(self.program, [one for one in results if one not in cut], passes)

    def _same_cases(self, variables: Collection[core.Var]) -> dict[Any, core.Var]:
        """Cases of ``where`` that are a given variable wherever they are taken.

        With ``h = where(valid, new, old)``, the ``new`` in ``y = where(valid, new, 0)`` is as good as h.
        """
        return {
            _case(equation, place, atom): equation.outvars[0]
            for equation in self.program.eqns
            if equation.primitive.name == "select_n" and equation.outvars[0] in variables
            for place, atom in enumerate(equation.invars)
            if place and _case(equation, place, atom)
        }


def scan_body(equation: core.JaxprEqn) -> ScanBody:
    """The body of a scan, flat."""
    closed = equation.params["jaxpr"]
    seen: dict[Any, tuple[list[Any], list[Any]]] = {}

    def apply(trail: Trail, inputs: list[Any]) -> list[Any]:
        key = _key(trail[-1], inputs)
        if key is None:
            return bind(trail[-1], inputs)
        if key not in seen:
            seen[key] = (bind(trail[-1], inputs), inputs)  # the inputs must live as long as their ids
        return seen[key][0]

    def step(*values: Any) -> list[Any]:
        return evaluate(closed.jaxpr, closed.consts, values, apply, _has_jax_derivative)

    flat = jax.make_jaxpr(step)(*(jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in closed.in_avals))
    return ScanBody(flat.jaxpr, flat.consts, *scan_counts(equation))


def sources(
    program: core.Jaxpr,
    results: Sequence[Any],
    passes: Callable[[core.JaxprEqn, int, Any], bool] = lambda equation, place, atom: True,
) -> set[core.Var]:
    """The variables of a program by which the results may have a derivative.

    Args:
        program: the program; a call in it is one operation.
        results: variables or numbers.
        passes: ``passes(equation, place, variable)`` says if the way from an operation to its operand counts.
    """
    found = {one for one in results if _is_variable(one)}
    for equation in reversed(program.eqns):
        if found.intersection(equation.outvars):
            found |= {
                atom
                for place, atom in enumerate(equation.invars)
                if _is_variable(atom) and passes(equation, place, atom)
            }
    return found


def is_float(atom: Any) -> bool:
    """True if a variable of a program holds real or complex floating point numbers."""
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _has_jax_derivative(trail: Trail) -> bool:
    return not trail[-1].primitive.name.startswith("custom")


def _is_variable(atom: Any) -> bool:
    return isinstance(atom, core.Var) and is_float(atom)


def _case(equation: core.JaxprEqn, place: int, atom: Any) -> Any:
    """A name of one case of a ``where``; None for other operands."""
    if equation.primitive.name != "select_n" or not place:
        return None
    return (
        None
        if any(isinstance(one, core.Literal) for one in (equation.invars[0], atom))
        else (equation.invars[0], place, atom)
    )


def _key(equation: core.JaxprEqn, inputs: list[Any]) -> Any:
    """Equal for operations with the same result; None if the operation's parameters cannot be compared."""
    params = tuple(sorted(equation.params.items(), key=lambda item: item[0]))
    key = equation.primitive, params, tuple(map(_identity, inputs))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _identity(value: Any) -> Any:
    """The object of an array, the bits of a number."""
    if isinstance(value, jax.Array):
        return id(value)
    return str(jnp.result_type(value)), np.shape(value), np.asarray(value).tobytes()
