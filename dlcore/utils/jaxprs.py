"""The operations of a program that JAX has traced, also within its nested programs."""

from collections.abc import Iterator
from typing import Any

from jax.extend import core


def nested_programs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The programs in an operation's parameters: a nested jit, a rematerialized part, a custom derivative."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def operations(program: core.Jaxpr) -> Iterator[str]:
    """The names of all operations of a program and of its nested programs, such as "mul" and "jit".

    >>> import jax
    >>> sorted(operations(jax.make_jaxpr(lambda x: jax.jit(jax.numpy.tanh)(2 * x))(1.0).jaxpr))
    ['jit', 'mul', 'tanh']
    """
    for equation in program.eqns:
        yield equation.primitive.name
        for inner in nested_programs(equation.params):
            yield from operations(inner)
