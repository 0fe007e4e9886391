"""Pushes and pulls against the matrices of `jax.jacrev`, and rows that end together."""

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


@pytest.mark.parametrize(
    "kind", ["lstm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gru", "stack"))]
)
def test_push_and_pull_multiply_with_the_jacobian(kind):
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", steps=3)
        size = sum(leaf.shape[1] for leaf in jax.tree.leaves(system.initial_state))
        columns = np.random.default_rng(1).normal(size=(4, size, 3))
        rows = np.swapaxes(columns, 1, 2)

        @jax.jit
        def measured():
            states = trajectory(system)
            before, inputs = at_step(states, 2), at_step(system.inputs, 2)
            pushed = push_tangents(system, before, inputs, columns)
            pulled = pull_cotangents(system, before, inputs, rows)
            return at_step(states, 3), *pushed, pulled, systems.jacobian_matrices(system)[2]

        state, after, pushed, pulled, jacobian = jax.device_get(measured())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), after, state)
    np.testing.assert_allclose(pushed, jacobian @ columns, atol=1e-13, rtol=0)
    np.testing.assert_allclose(pulled, rows @ jacobian, atol=1e-13, rtol=0)


def test_a_padded_row_is_pushed_by_the_identity():
    system = recurrence("tanh")
    columns = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    valid = jnp.array([True, False, True, False])
    first = system.initial_state, system.inputs[0], columns
    masked, whole = jax.device_get(
        jax.jit(lambda: (push_tangents(system, *first, valid), push_tangents(system, *first)))()
    )
    for new, old, everywhere in zip(masked, (system.initial_state, columns), whole, strict=True):
        np.testing.assert_array_equal(new[1::2], old[1::2])
        np.testing.assert_allclose(new[::2], everywhere[::2], rtol=1e-6)


def test_a_state_that_is_not_finite_has_no_jacobian():
    """Without this rule, the derivative of ReLU would be 0 at -inf and 1 at inf, without any sign of the error."""
    step = lambda w, h, x: jax.nn.relu(w * h)
    state = jnp.array([[1.0], [1e20], [-jnp.inf], [0.0]])
    system = Recurrence(step, jnp.array(1e30), state, jnp.zeros((1, 4, 0)))
    columns = jnp.ones((4, 1, 1))
    (_, pushed), pulled = jax.jit(
        lambda: (
            push_tangents(system, state, system.inputs[0], columns),
            pull_cotangents(system, state, system.inputs[0], columns),
        )
    )()
    for result in (pushed, pulled):
        assert np.isfinite(result[:, 0, 0]).tolist() == [True, False, False, True]


def test_aligned_rows_end_together():
    step = lambda w, h, x: h + x
    inputs = jnp.arange(1.0, 4.0)[:, None] * jnp.ones((3, 3))
    system = Recurrence(step, jnp.zeros(1), jnp.zeros(3), inputs, jnp.array([3, 1, 0]))
    states, inputs = jax.jit(lambda: align_ends(system))()
    assert states.T.tolist() == [[0, 1, 3, 6], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert inputs[2].tolist()[:2] == [3, 1]
