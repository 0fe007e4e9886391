"""Finds the axis of a scan's state along which the rows of a batch stand, which do not influence each other.

A program does not say which axis of its arrays is the batch. The derivative of one step says it: along this axis it is
block diagonal. It is probed at random values, since a program that is traced has none. For each bit of a row's index,
the rows with that bit are perturbed, then those without it; so each pair of rows is apart in one of the probes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.models.scan_body import ScanBody, is_float
from dlcore.ops.arrays import expand_to_rank
from dlcore.utils.jaxprs import Trail, bind, evaluate

POINTS, LARGE = 3, 1e3


def row_axis(body: ScanBody, inputs: Sequence[int], outputs: Sequence[int]) -> int | None:
    """The axis of the rows in all arrays of a state; None if there is none.

    Args:
        body: the step.
        inputs: the places of the state's arrays among the step's arguments.
        outputs: the places of all arrays among its results that must be apart for different rows.
    """
    shapes = [
        *(body.shapes[0][place] for place in inputs),
        *(body.shapes[1][place] for place in outputs),
    ]
    for axis in range(min(map(len, shapes))):
        sizes = {shape[axis] for shape in shapes}
        if len(sizes) == 1 and rows_are_apart(body, inputs, axis, outputs, axis):
            return axis
    return None


def rows_are_apart(
    body: ScanBody, inputs: Sequence[int], axis: int, outputs: Sequence[int], output_axis: int
) -> bool:
    """True if row b of the outputs depends on row b of the inputs, and on no other row of them.

    Args:
        body: the step.
        inputs: the places of some of its arguments.
        axis: the axis of the rows in them.
        outputs: the places of some of its results.
        output_axis: the axis of the rows in them.
    """
    rows = body.shapes[1][outputs[0]][output_axis]
    if rows <= 1:
        return True
    bits = (np.arange(rows) >> np.arange(int(rows - 1).bit_length())[:, None]) % 2 == 1
    masks = np.concatenate([bits, ~bits])

    def push(values: list[Any], tangents: list[Any], mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        def chosen(arrays: list[Any]) -> list[Any]:
            replaced = dict(zip(inputs, arrays, strict=True))
            everything = [replaced.get(place, value) for place, value in enumerate(values)]
            results = evaluate(body.program, body.consts, everything, _with_all_cases, lambda trail: False)
            return [jnp.moveaxis(results[place], output_axis, 0) for place in outputs]

        masked = [jnp.where(_along(mask, axis, array.ndim), array, 0) for array in tangents]
        _, pushed = jax.jvp(chosen, [[values[place] for place in inputs]], [masked])
        changed = [(array != 0).reshape(rows, -1).any(axis=1) for array in pushed]
        changed_rows = jnp.stack(changed).any(axis=0)
        return (changed_rows & ~mask).any(), changed_rows.any()

    with jax.ensure_compile_time_eval():
        pushed = jax.jit(jax.vmap(push, in_axes=(None, None, 0)))
        probes = [
            pushed(values, [values[place] for place in inputs], masks)
            for values in (_random_values(body, seed) for seed in range(POINTS))
        ]
        mixed, changed = (np.array(part) for part in zip(*probes, strict=True))
    return not mixed.any() and bool(changed.any())


def _along(mask: jax.Array, axis: int, ndim: int) -> jax.Array:
    return expand_to_rank(mask, ndim - axis)


def _with_all_cases(trail: Trail, inputs: list[Any]) -> Sequence[Any]:
    """Evaluates an operation. ``where`` gives the mean of its cases, so that no case hides what it depends on.

    A case that stands for nothing, as -inf does under a softmax, does not count.
    """
    equation = trail[-1]
    if equation.primitive.name == "select_n" and is_float(equation.outvars[0]):
        return [sum(jnp.where(abs(case) < LARGE, case, 0) for case in inputs[1:]) / (len(inputs) - 1)]
    return bind(equation, inputs)


def _random_values(body: ScanBody, seed: int) -> list[Any]:
    """Arguments of the step. Numbers are positive, since a logarithm may stand before them, and weights are small."""
    generator = np.random.default_rng(seed)

    def value(place: int, aval: Any) -> Any:
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(jax.random.key(seed), aval.shape)
        if jnp.issubdtype(aval.dtype, jnp.inexact):
            scale = max(aval.shape, default=1) if place < body.num_consts and aval.ndim > 1 else 1
            return (generator.uniform(0.1, 0.9, aval.shape) / scale).astype(aval.dtype)
        return generator.integers(0, 3 if aval.dtype != bool else 2, aval.shape).astype(aval.dtype)

    return [value(place, variable.aval) for place, variable in enumerate(body.program.invars)]
