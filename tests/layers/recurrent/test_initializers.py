"""Initial values of recurrent weights, gate by gate, and how many networks are initialized at once."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.layers.recurrent import initializers

KEY = jax.random.key(0)
ORTHOGONAL = jax.nn.initializers.orthogonal()


@pytest.mark.parametrize("gates", [1, 4])
def test_each_gate_of_an_orthogonal_kernel_is_orthogonal_on_its_own(gates):
    kernel = jax.jit(lambda key: initializers.per_gate(ORTHOGONAL, gates)(key, (8, gates * 8)))(KEY)
    blocks = np.split(np.asarray(kernel, np.float64), gates, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-5)
    assert len({block.tobytes() for block in blocks}) == gates


def test_the_fan_is_that_of_one_gate():
    init = initializers.per_gate(jax.nn.initializers.variance_scaling(1.0, "fan_out", "normal"), 4)
    assert init(KEY, (200, 400)).std() == pytest.approx(0.1, rel=0.02)


@pytest.mark.slow
def test_many_networks_initialized_at_once_decompose_one_matrix_after_the_other():
    """Two batched decompositions that run at the same time lock up a CPU of two cores: none may be batched."""
    layer = dl.Bidirectional(dl.LSTMCell(8), dl.LSTMCell(8))
    inputs, keys = jnp.ones((2, 3, 4)), jax.random.split(KEY, 3)
    many = jax.jit(jax.vmap(lambda key: layer.init(key, inputs)))
    batch_dims = set(re.findall(r'geqrf.*num_batch_dims = "(\d)"', many.lower(keys).as_text()))
    assert batch_dims == {"0"}
    alone = jax.jit(lambda key: layer.init(key, inputs))(keys[1])
    jax.tree.map(lambda all, one: np.testing.assert_allclose(all[1], one, atol=1e-6), many(keys), alone)


def test_identity_and_diagonal():
    assert initializers.identity(2.0)(KEY, (2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    vector = initializers.diagonal(initializers.identity(2.0))(KEY, (3,), jnp.bfloat16)
    assert vector.tolist() == [2, 2, 2]
    assert vector.dtype == jnp.bfloat16


def test_one_gate_of_a_bias_has_its_own_value():
    bias = initializers.with_gate(jax.nn.initializers.constant(0.5), 3, 1, 7.0)(KEY, (6,))
    assert bias.tolist() == [0.5, 0.5, 7, 7, 0.5, 0.5]


def test_chrono_writes_the_negative_of_what_it_keeps():
    bias = initializers.chrono(jax.nn.initializers.constant(0.5), 4, 10, keep=1, write=0)(KEY, (40,))
    write, keep, *others = np.split(np.asarray(bias), 4)
    np.testing.assert_array_equal(write, -keep)
    assert (others == np.float32(0.5)).all()
    assert ((keep >= 0) & (keep <= np.log(9))).all()
    only = initializers.chrono(jax.nn.initializers.constant(0.5), 4, 10, keep=1)(KEY, (40,))
    assert (only[:10] == 0.5).all()
