"""Pushes and pulls against matrices of `jax.jacrev`, and rows that end together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.recurrence import Recurrence, at_step, trajectory
from dlcore.gradflow.measures.tangents import (
    align_ends,
    flatten_state,
    pull_cotangents,
    push_tangents,
    unflatten_state,
)
from tests.helpers import systems
from tests.helpers.recurrences import recurrence


def test_flatten_and_back():
    state = {"c": jnp.arange(6.0).reshape(2, 3), "h": jnp.arange(8.0).reshape(2, 2, 2).astype(jnp.bfloat16)}
    vectors = flatten_state(state)
    np.testing.assert_array_equal(vectors, [[0, 1, 2, 0, 1, 2, 3], [3, 4, 5, 4, 5, 6, 7]])
    assert vectors.dtype == jnp.float32
    back = unflatten_state(vectors, state)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    assert back["h"].dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", ["lstm", "gru", "stack"])
def test_push_and_pull_multiply_with_the_jacobian(kind):
    with jax.enable_x64(True):
        system = recurrence(kind, "float64")
        states, every = jax.jit(lambda: trajectory(system))(), systems.matrices(system)
        state, inputs = at_step(states, 2), at_step(system.inputs, 2)
        size = every.shape[-1]
        columns = jax.random.normal(jax.random.key(1), (4, size, 3))
        after, pushed = jax.jit(lambda: push_tangents(system, state, inputs, columns))()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), after, at_step(states, 3))
        np.testing.assert_allclose(pushed, every[2] @ columns, atol=1e-13, rtol=0)
        pulled = jax.jit(lambda: pull_cotangents(system, state, inputs, jnp.swapaxes(columns, 1, 2)))()
        np.testing.assert_allclose(pulled, np.swapaxes(columns, 1, 2) @ every[2], atol=1e-13, rtol=0)


def test_a_row_that_is_over_is_pushed_by_the_identity():
    system = recurrence("lstm")
    columns = jax.random.normal(jax.random.key(1), (4, 10, 3))
    own = jnp.array([True, False, True, False])
    first = system.initial_state, at_step(system.inputs, 0), columns
    (after, pushed), everywhere = jax.jit(
        lambda: (push_tangents(system, *first, own), push_tangents(system, *first))
    )()
    for new, old, all_rows in zip(
        jax.tree.leaves((after, pushed)),
        jax.tree.leaves((system.initial_state, columns)),
        jax.tree.leaves(everywhere),
        strict=True,
    ):
        np.testing.assert_array_equal(new[1::2], old[1::2])
        np.testing.assert_allclose(new[::2], all_rows[::2], rtol=1e-6)


def test_of_a_state_that_is_not_finite_there_is_no_jacobian():
    """Without that, the derivative of ReLU at -inf would be a quiet 0, and at inf a quiet 1."""
    step = lambda w, h, x: jax.nn.relu(w * h)
    system = Recurrence(
        step, jnp.array(1e30), jnp.array([[1.0], [1e20], [-jnp.inf], [0.0]]), jnp.zeros((1, 4, 0))
    )
    columns = jnp.ones((4, 1, 1))
    _, pushed = push_tangents(system, system.initial_state, at_step(system.inputs, 0), columns)
    for result in (pushed, pull_cotangents(system, system.initial_state, at_step(system.inputs, 0), columns)):
        assert np.isfinite(result[:, 0, 0]).tolist() == [True, False, False, True]


def test_rows_end_together():
    step = lambda w, h, x: h + x
    inputs = jnp.arange(1.0, 4.0)[:, None] * jnp.ones((3, 3))
    system = Recurrence(step, jnp.zeros(1), jnp.zeros(3), inputs, jnp.array([3, 1, 0]))
    states, inputs = align_ends(system)
    assert states.T.tolist() == [[0, 1, 3, 6], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert inputs[2 - 0, 0] == 3
    assert inputs[2, 1] == 1
