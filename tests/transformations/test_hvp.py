"""Hessian-vector products, forward over reverse and reverse over reverse, against differences of the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from tests.helpers.layers import (
    CASES,
    MECHANISMS,
    REFERENCES,
    assert_close,
    directions,
    dot,
    each,
    gradient_of,
    loss_of,
    moved,
)

STEP = 1e-5


def products(case):
    """The compiled function ``arguments, direction -> H d`` of both ways."""
    loss = loss_of(case)

    @jax.jit
    def run(arguments, direction):
        _, forward = jax.jvp(jax.grad(loss), [arguments], [direction])
        return forward, jax.grad(lambda arguments: dot(jax.grad(loss)(arguments), direction))(arguments)

    return run


@each(MECHANISMS)
def test_hessian_vector_products_equal_differences_of_the_gradient(name):
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        direction = directions(arguments)
        forward, reverse = products(CASES[name])(arguments, direction)
        if name in REFERENCES:
            expected, _ = products(REFERENCES[name])(arguments, direction)
        else:
            before, after = (gradient_of(name)(moved(arguments, direction, by))[1] for by in (-STEP, STEP))
            expected = jax.tree.map(lambda one, other: (other - one) / (2 * STEP), before, after)
    assert_close(forward, expected, 1e-6)
    assert_close(reverse, expected, 1e-6)


@pytest.mark.parametrize(
    "windows",
    [
        {"time_chunk": 3},
        {"truncate": 6},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"time_chunk": 2, "truncate": 6}, marks=pytest.mark.slow),
        pytest.param({"time_chunk": 4, "reverse": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_gradient_penalty_is_the_same_in_all_windows(windows):
    """The gradient, at step 2, of ``sum(grad_x(sum(y^2))^2)``: -.02976 forward, by finite differences."""
    with jax.enable_x64(True):
        inputs = np.linspace(-1, 1, 6).reshape(1, 6, 1)
        layer = dl.Recurrent(dl.RNNCell(2, param_dtype=jnp.float64), **windows)
        variables = jax.jit(layer.init)(jax.random.key(0), inputs)

        @jax.jit
        def penalty(inputs):
            loss = lambda inputs: (layer.apply(variables, inputs)[1] ** 2).sum()
            return (jax.grad(loss)(inputs) ** 2).sum()

        gradient = jax.jit(jax.grad(penalty))(inputs)[0, 2, 0]
        change = np.zeros_like(inputs)
        change[0, 2] = STEP
        expected = (penalty(inputs + change) - penalty(inputs - change)) / (2 * STEP)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    if "reverse" not in windows:
        assert float(gradient) == pytest.approx(-0.02976, abs=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("windows", [{"time_chunk": 3}, {"truncate": 8}], ids=str)
def test_the_hessian_of_two_layers_does_not_depend_on_windows(windows):
    """The product of the parameters' Hessian of a two-layer LSTM with a vector; chunks were off by 2 to 6 %."""
    with jax.enable_x64(True):
        inputs = np.random.default_rng(0).normal(size=(2, 8, 2))
        make = lambda **windows: dl.DeepRecurrent(dl.LSTMCell(3), layers=2, **windows)
        shapes = jax.eval_shape(make().init, jax.random.key(0), inputs)
        random = np.random.default_rng(1)
        variables = jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape), shapes)

        def product(layer):
            loss = lambda variables: (layer.apply(variables, inputs)[1] ** 2).sum()
            return jax.jit(lambda at, along: jax.jvp(jax.grad(loss), [at], [along])[1])(
                variables, directions(variables)
            )

        assert_close(product(make(**windows)), product(make()), 1e-12)
