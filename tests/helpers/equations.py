"""Checks of one cell's pure functions: its step against NumPy, its differential against JAX's derivative."""

import jax
import numpy as np

from dlcore.ops.recurrence import Kernels

ROWS, FEATURES, UNITS = 2, 2, 3


def random_weights(gates=1, carry_parts=1, recurrent_bias=False):
    """Weights, inputs ``[B, F]`` and a carry, in float32."""
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(size=shape).astype(np.float32)
    weights = Kernels(
        draw(FEATURES, gates * UNITS),
        draw(UNITS, gates * UNITS),
        draw(gates * UNITS),
        draw(UNITS) if recurrent_bias else None,
    )
    carry = tuple(draw(ROWS, UNITS) for _ in range(carry_parts))
    return weights, draw(ROWS, FEATURES), carry if carry_parts > 1 else carry[0]


def check_step(equations, step, gates=1, carry_parts=1, recurrent_bias=False, more=None):
    """Asserts that the step and its h are those of the NumPy step, row by row.

    ``more(kernels)`` adds the other weights of a cell that has some; the NumPy step gets them by their names.
    """
    kernels, inputs, carry = random_weights(gates, carry_parts, recurrent_bias)
    weights = kernels if more is None else more(kernels)
    after, _ = equations.step(weights, carry, inputs)
    others = {} if more is None else {f"{name}_kernel": array for name, array in weights._asdict().items()}
    params = {name: array for name, array in {**kernels._asdict(), **others}.items() if array is not None}
    for row in range(ROWS):
        expected = step(params, jax.tree.map(lambda part, row=row: part[row], carry), inputs[row])
        for part, value in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(part[row], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(equations.hidden(after), jax.tree.leaves(after)[-1])


def check_differential(equations, gates=1, carry_parts=1, recurrent_bias=False, more=None):
    """Asserts that drive and differential give the step's derivative in weights, carry and inputs, in float64."""
    weights, inputs, carry = random_weights(gates, carry_parts, recurrent_bias)
    weights = weights if more is None else more(weights)
    with jax.enable_x64(True):
        primals = jax.tree.map(lambda array: array.astype(np.float64), (weights, carry, inputs))
        tangents = jax.tree.map(np.cos, primals)

        @jax.jit
        def run(primals, tangents):
            step = lambda *arguments: equations.step(*arguments)[0]
            _, expected = jax.jvp(step, primals, tangents)
            (weights, carry, inputs), (weights_dot, carry_dot, inputs_dot) = primals, tangents
            _, saved = equations.step(weights, carry, inputs)
            drive = lambda weights, inputs: equations.drive(weights, inputs, saved)
            _, drive_dot = jax.jvp(drive, [weights, inputs], [weights_dot, inputs_dot])
            constants = equations.constants(weights)
            return equations.differential(constants, saved, carry_dot, drive_dot), expected

        result, expected = run(primals, tangents)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-12), result, expected)
