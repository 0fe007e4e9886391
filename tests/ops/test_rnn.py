"""The plain and the residual network's equation against the NumPy loop, and its differential against JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.rnn import Rnn
from tests.helpers import reference
from tests.helpers.equations import check_differential, check_step, random_weights

EQUATIONS = {
    "tanh": (Rnn(), reference.rnn),
    "relu": (Rnn(jax.nn.relu), lambda p, h, x: reference.rnn(p, h, x, reference.relu)),
    "residual": (Rnn(residual=True), reference.residual),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_step_equals_the_lectures(name):
    equations, step = EQUATIONS[name]
    check_step(equations, step)


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_differential_is_the_derivative_of_the_step(name):
    check_differential(EQUATIONS[name][0])


def test_without_feedback_the_residual_state_has_the_identity_as_its_derivative():
    weights, inputs, hidden = random_weights()
    weights = weights._replace(recurrent_kernel=None)
    equations = Rnn(residual=True)
    after, saved = equations.step(weights, hidden, inputs)
    np.testing.assert_allclose(
        after, hidden + np.tanh(inputs @ weights.input_kernel + weights.bias), rtol=1e-5, atol=1e-6
    )
    assert equations.constants(weights) is None
    ones = jnp.ones_like(hidden)
    np.testing.assert_array_equal(equations.differential(None, saved, ones, jnp.zeros_like(hidden)), ones)
