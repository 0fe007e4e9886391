"""The penalty is a mean of squares, has their gradient, and pulls a net that forgets to the edge of chaos."""

import jax
import jax.test_util
import numpy as np
import optax
import pytest

import dlcore as dl
from dlcore.gradflow.measures.lyapunov import largest_exponent, lyapunov_spectrum
from dlcore.gradflow.models.regularizers import flossing_penalty
from tests.helpers.recurrences import recurrence
from tests.helpers.systems import driven


def test_it_is_the_mean_square_of_the_first_exponents_of_rows_that_have_any():
    system = recurrence("lstm", lengths=(6, 0, 2, 4))
    exponents, found = jax.device_get(
        jax.jit(lambda: (lyapunov_spectrum(system, 3, warm_up=2), flossing_penalty(system, 3, warm_up=2)))()
    )
    np.testing.assert_allclose(found, (exponents[[0, 3]] ** 2).mean(), rtol=1e-5)


@pytest.mark.parametrize("exponents", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_its_gradient_is_that_of_finite_differences(exponents):
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", lengths=(6, 0, 2, 4))
        loss = jax.jit(lambda params: flossing_penalty(system._replace(params=params), exponents, warm_up=2))
        jax.test_util.check_grads(loss, (system.params,), order=1, modes=["rev"], rtol=1e-5)


@pytest.mark.slow
def test_two_hundred_steps_bring_the_largest_exponent_to_zero():
    """Of a tanh net of 32 units at T = 200, from -.44 to -.01; on inputs that it did not see, to -.06."""
    system = driven(dl.RNNCell(32), steps=200, batch=4, features=3)
    other = system._replace(inputs=jax.random.normal(jax.random.key(9), system.inputs.shape))
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda params: flossing_penalty(system._replace(params=params), 1))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    measure = jax.jit(
        lambda params: [largest_exponent(s._replace(params=params)).mean() for s in (system, other)]
    )
    before = measure(system.params)
    params, state = system.params, optimizer.init(system.params)
    for _ in range(200):
        params, state = step(params, state)
    after = measure(params)
    assert before[0] < -0.3
    assert abs(after[0]) < 0.03
    assert abs(after[1]) < 0.1
