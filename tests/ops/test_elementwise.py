"""Element-wise functions are told from those that mix elements, by their programs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.elementwise import is_elementwise

Z = jnp.ones((2, 3))


@jax.custom_vjp
def rounded(z):
    """Rounds, with the derivative 1."""
    return jnp.round(z)


rounded.defvjp(lambda z: (rounded(z), None), lambda _, change: (change,))


@jax.custom_jvp
def clipped_gradient(z):
    return z


@clipped_gradient.defjvp
def _clipped_gradient_jvp(primals, tangents):
    return clipped_gradient(*primals), tangents[0] / jnp.linalg.norm(primals[0])


ACTIVATIONS = [
    jnp.tanh, jnp.sin, jnp.abs, jnp.sqrt, jnp.square, jax.scipy.special.erf, jax.nn.relu, jax.nn.relu6, jax.nn.sigmoid,
    jax.nn.softplus, jax.nn.silu, jax.nn.gelu, functools.partial(jax.nn.gelu, approximate=False), jax.nn.elu,
    jax.nn.selu, jax.nn.celu, jax.nn.mish, jax.nn.leaky_relu, jax.nn.hard_tanh, jax.nn.hard_sigmoid, jax.nn.hard_swish,
    jax.nn.soft_sign, jax.nn.log_sigmoid, jax.nn.squareplus, jax.nn.sparse_plus, lambda z: z, lambda z: 0.5 * z + z**3,
    lambda z: jnp.where(z > 0, z, 0.1 * z), lambda z: z * np.array([1.0, 2.0, 3.0]), jax.checkpoint(jnp.tanh), rounded,
    jax.jit(lambda z: jnp.clip(z, -1, 1)),
]  # fmt: skip


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activations_are_element_wise(function):
    assert is_elementwise(function, Z)


@pytest.mark.parametrize(
    "function",
    [
        jax.nn.softmax, jax.nn.log_softmax, jax.nn.standardize, lambda z: z - z.mean(), jnp.sort, jnp.fliplr,
        lambda z: jnp.cumsum(z, axis=-1), lambda z: z @ jnp.eye(3), lambda z: z / jnp.linalg.norm(z),
        jax.jit(jax.nn.softmax), jax.checkpoint(jax.nn.softmax), jax.vmap(jax.nn.softmax), clipped_gradient,
        lambda z: jax.lax.fori_loop(0, 2, lambda _, z: jnp.tanh(z), z),
    ],
)  # fmt: skip
def test_what_mixes_elements_or_is_not_known_is_not(function):
    assert not is_elementwise(function, Z)


def test_a_function_that_closes_over_a_traced_value_is_not():
    def inside(slope):
        assert not is_elementwise(lambda z: jnp.where(z > 0, z, slope * z), Z)
        return slope

    jax.eval_shape(inside, 0.1)
    jax.eval_shape(jax.grad(inside), 0.1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 3)])
def test_the_shape_of_the_array_plays_no_role(shape):
    assert is_elementwise(jnp.tanh, jnp.ones(shape))
    assert not is_elementwise(jax.nn.softmax, jnp.ones(shape))
    assert not is_elementwise(jnp.transpose, jnp.ones((3, 3)))
