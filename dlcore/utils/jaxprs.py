"""The operations of a program that JAX has traced, also within its nested programs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from jax.extend import core

Trail: TypeAlias = tuple[core.JaxprEqn, ...]
"""An operation, last, after the calls that lead to it, outermost first. It tells two runs of one program apart."""

CALLS = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
)
"""Operations that only run a program, by their names in all versions of JAX."""


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


def called_program(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """The program that an operation only runs, as a nested jit does; None for all other operations."""
    body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    if equation.primitive.name not in CALLS or not isinstance(body, core.ClosedJaxpr | core.Jaxpr):
        return None
    return body if isinstance(body, core.ClosedJaxpr) else core.ClosedJaxpr(body, [])


def scan_counts(equation: core.JaxprEqn) -> tuple[int, int]:
    """The number of constants of a scan, which are its first inputs, and the number of arrays in its carry.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda w, x: jax.lax.scan(lambda s, x: (w * s + x, s), 0.0, x))(2.0, jax.numpy.ones(3))
    >>> [scan_counts(equation) for equation in program.jaxpr.eqns if equation.primitive.name == "scan"]
    [(1, 1)]
    """
    params = equation.params
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # since JAX 0.12
    return len(consts), len(carry)


def bind(equation: core.JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    """The results of one operation of these inputs."""
    outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def evaluate(
    program: core.Jaxpr,
    consts: Sequence[Any],
    values: Sequence[Any],
    apply: Callable[[Trail, list[Any]], Sequence[Any]],
    enters: Callable[[Trail], bool] = lambda trail: True,
    trail: Trail = (),
) -> list[Any]:
    """Evaluates a program operation by operation, also within the programs that it calls.

    Args:
        program: the program.
        consts: the values that it has closed over.
        values: its arguments.
        apply: is called as ``apply(trail, inputs)`` for each operation and returns its results. The inputs of `bind`
            are arrays, but any values will do.
        enters: is asked ``enters(trail)`` for each call; if it says no, the call counts as one operation.
        trail: the calls that have led to this program.

    Returns:
        The program's results.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: jax.jit(jax.numpy.sin)(x) + 1)(0.0)
    >>> names = []
    >>> def note(trail, inputs):
    ...     names.append(trail[-1].primitive.name)
    ...     return bind(trail[-1], inputs)
    >>> float(evaluate(program.jaxpr, program.consts, [0.0], note)[0]), names
    (1.0, ['sin', 'add'])
    """
    environment = dict(zip([*program.constvars, *program.invars], [*consts, *values], strict=True))
    read = lambda atom: atom.val if isinstance(atom, core.Literal) else environment[atom]
    for equation in program.eqns:
        inputs, here = [read(atom) for atom in equation.invars], (*trail, equation)
        inner = called_program(equation)
        if inner is not None and enters(here):
            outputs: Sequence[Any] = evaluate(inner.jaxpr, inner.consts, inputs, apply, enters, here)
        else:
            outputs = apply(here, inputs)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in program.outvars]
