"""Counts floating-point operations by XLA's cost analysis; the body of a scan counts as often as it runs."""

import jax
from jax.extend import core

from dlcore.utils.jaxprs import nested_programs


def count_flops(traced: jax.stages.Traced) -> float:
    """The number of floating-point operations in one call of a traced function, on all devices together.

    XLA's analysis counts the body of a loop once, which leaves out nearly all of a recurrent network. This function
    counts the body of each ``lax.scan``, also of nested ones, for every step. A ``while_loop`` counts once, since its
    number of steps is not known.

    Args:
        traced: what ``jax.jit(function).trace(...)`` returns.

    >>> def power(matrix):
    ...     return jax.lax.scan(lambda product, _: (product @ matrix, None), matrix, None, length=10)[0]
    >>> traced = jax.jit(power).trace(jax.ShapeDtypeStruct((8, 8), "float32"))
    >>> round(count_flops(traced) / (10 * 2 * 8**3), 2)
    1.0
    """
    return _cost(traced.lower()) + _missing_in_scans(traced.jaxpr.jaxpr)


def _missing_in_scans(jaxpr: core.Jaxpr) -> float:
    """The operations in a program's scans that XLA's analysis of the program leaves out."""
    missing = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            body = equation.params["jaxpr"]
            inner = _missing_in_scans(body.jaxpr)
            inputs = (jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in body.in_avals)
            once = _cost(jax.jit(core.jaxpr_as_fun(body)).lower(*inputs))
            missing += (equation.params["length"] - 1) * (once + inner) + inner
        else:
            missing += sum(_missing_in_scans(inner) for inner in nested_programs(equation.params))
    return missing


def _cost(lowered: jax.stages.Lowered) -> float:
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))
