"""Counts floating-point operations by XLA's cost analysis; the body of a scan counts as often as it runs."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.extend import core
from jax.extend.core.primitives import copy_p, sharding_constraint_p

from dlcore.utils.jaxprs import nested_programs


def count_flops(traced: jax.stages.Traced) -> float:
    """The number of floating-point operations in one call of a traced function, on all devices together.

    XLA's analysis counts the body of a loop once, which leaves out nearly all of a recurrent network. This function
    counts the body of each ``lax.scan``, also of nested ones, for every step. A ``while_loop`` counts once, since its
    number of steps is not known. It is 0 if JAX_PLATFORMS leaves out the CPU, whose compiler counts.

    Args:
        traced: what ``jax.jit(function).trace(...)`` returns.

    >>> def power(matrix):
    ...     return jax.lax.scan(lambda product, _: (product @ matrix, None), matrix, None, length=10)[0]
    >>> traced = jax.jit(power).trace(jax.ShapeDtypeStruct((8, 8), "float32"))
    >>> round(count_flops(traced) / (10 * 2 * 8**3), 2)
    1.0
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return 0.0
    program = _unplaced(traced.jaxpr)
    # JAX keeps the lowering, which the compilation needs, too. Only one for a CPU can be counted.
    analysis = traced.lower().cost_analysis()
    with jax.default_device(cpu):
        once = _cost(program) if analysis is None else _flops(analysis)
        return once + _missing_in_scans(program.jaxpr)


def _unplaced(value: Any) -> Any:
    """A program without its sharding constraints, whose devices the CPU's compiler does not know."""
    if isinstance(value, core.Jaxpr):  # in newer versions of JAX a ClosedJaxpr is one, too
        return value.replace(eqns=[_unplaced_equation(equation) for equation in value.eqns])
    if isinstance(value, core.ClosedJaxpr):
        return value.replace(jaxpr=_unplaced(value.jaxpr))
    return tuple(map(_unplaced, value)) if type(value) is tuple else value


def _unplaced_equation(equation: core.JaxprEqn) -> core.JaxprEqn:
    if equation.primitive is sharding_constraint_p:
        return equation.replace(primitive=copy_p, params={})
    return equation.replace(params={name: _unplaced(value) for name, value in equation.params.items()})


def _missing_in_scans(jaxpr: core.Jaxpr) -> float:
    """The operations in a program's scans that XLA's analysis of the program leaves out."""
    missing = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            body, length = equation.params["jaxpr"], equation.params["length"]
            missing += (length - 1) * _cost(body) + length * _missing_in_scans(body.jaxpr)
        else:
            inner = [_missing_in_scans(program) for program in nested_programs(equation.params)]
            # One branch runs, for instance that of the platform.
            missing += max(inner) if equation.primitive.name == "cond" else sum(inner)
    return missing


def _cost(program: core.ClosedJaxpr) -> float:
    """XLA's count of a program on the CPU, in which a loop's body is once."""
    arguments = (jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals)
    return _flops(jax.jit(core.jaxpr_as_fun(program)).lower(*arguments).cost_analysis() or {})


def _flops(analysis: Mapping[str, float]) -> float:
    return float(analysis.get("flops", 0.0))
