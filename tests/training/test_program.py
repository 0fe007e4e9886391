"""Programs that are compiled ahead of their first call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.program import compile_program


def test_a_program_of_shapes_can_be_called_with_arrays():
    matrix = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    program = compile_program(jax.jit(lambda a, b: a @ b), matrix, matrix)
    a, b = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(program.call(a, b), a @ b, rtol=1e-5)
    assert program.flops == pytest.approx(2 * 8**3)
    assert program.compile_seconds > 0


def test_a_program_takes_no_other_shapes():
    program = compile_program(jax.jit(jnp.sin), jax.ShapeDtypeStruct((3,), jnp.float32))
    with pytest.raises(TypeError, match="float32"):
        program.call(np.zeros(4, np.float32))
