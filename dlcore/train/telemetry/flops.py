"""Floating-point operations by XLA's cost analysis, with the bodies of scans counted as often as they run."""

from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core


def count_flops(traced: jax.stages.Traced) -> float:
    """The operations of one call of a traced function, of its whole batch on all devices.

    XLA's analysis looks into a loop's body once, which would leave out nearly all of a recurrent network. Here each
    ``lax.scan`` adds its body for the other steps, also in scans in scans; a ``while_loop`` counts once, as its number
    of steps is not known.

    >>> def power(matrix):
    ...     return jax.lax.scan(lambda product, _: (product @ matrix, None), matrix, None, length=10)[0]
    >>> traced = jax.jit(power).trace(jax.ShapeDtypeStruct((8, 8), "float32"))
    >>> round(count_flops(traced) / (10 * 2 * 8**3), 2)
    1.0
    """
    return _cost(traced.lower()) + _in_scans(traced.jaxpr.jaxpr)


def _in_scans(jaxpr: core.Jaxpr) -> float:
    """What XLA's analysis of a program leaves out of its scans."""
    left_out = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            body = equation.params["jaxpr"]
            inner = _in_scans(body.jaxpr)
            inputs = (jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in body.in_avals)
            once = _cost(jax.jit(core.jaxpr_as_fun(body)).lower(*inputs))
            left_out += (equation.params["length"] - 1) * (once + inner) + inner
        else:
            left_out += sum(_in_scans(inner) for inner in _bodies(equation.params))
    return left_out


def _bodies(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The programs within an operation: of a nested jit, a rematerialized part, a custom derivative."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def _cost(lowered: jax.stages.Lowered) -> float:
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))
