"""The LSTM's equations against the NumPy loop, and its differential against JAX's."""

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops import lstm
from tests.helpers import reference
from tests.helpers.equations import check_differential, check_step, random_weights


def test_a_step_equals_the_lectures():
    check_step(lstm.Lstm(), reference.lstm, gates=4, carry_parts=2)


def test_the_differential_is_the_derivative_of_the_step():
    check_differential(lstm.Lstm(), gates=4, carry_parts=2)


def test_a_mask_meets_the_recurrent_kernel_only():
    weights, inputs, (cell, hidden) = random_weights(gates=4, carry_parts=2)
    mask = np.array([[0.0, 2.0, 2.0]])
    masked, _ = lstm.Lstm().step(weights, (cell, hidden), inputs, mask)
    plain, _ = lstm.Lstm().step(weights, (cell, hidden * mask), inputs)
    jax.tree.map(np.testing.assert_array_equal, masked, plain)


def test_the_cell_is_normalized_before_its_tanh_only():
    z, cell = np.random.default_rng(0).normal(size=(2, 12)), np.random.default_rng(1).normal(size=(2, 3))
    (new, hidden), gates = lstm.gated_update(jnp.float32(z), jnp.float32(cell), lambda cell: 3 * cell)
    i, f, o, g = np.split(z, 4, axis=1)
    expected = reference.sigma(f) * cell + reference.sigma(i) * np.tanh(g)
    np.testing.assert_allclose(new, expected, rtol=1e-5)
    np.testing.assert_allclose(hidden, reference.sigma(o) * np.tanh(3 * expected), rtol=1e-5)
    np.testing.assert_allclose(gates.sigmoids, reference.sigma(z[:, :9]), rtol=1e-5)
    np.testing.assert_allclose(gates.squashed, np.tanh(3 * expected), rtol=1e-5)
