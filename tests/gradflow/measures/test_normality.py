"""Bounds, the regularizer of Pascanu et al. and the departure from normality, by matrices."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import optax
import pytest

import dlcore as dl
from dlcore.gradflow.measures import backward, jacobians, normality, wide_range
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.regularizers import omega_terms
from tests.helpers import systems
from tests.helpers.recurrences import recurrence

LENGTHS = (6, 1, 0, 4)


def test_norm_bound_is_never_exceeded():
    system = systems.driven(dl.RNNCell(8), steps=40)

    @jax.jit
    def measure(scale):
        kernel = scale * system.params["recurrent_kernel"]
        scaled = system._replace(params={**system.params, "recurrent_kernel": kernel})
        return normality.log_bound(kernel), jacobians.log_products(scaled)

    for scale in (0.5, 0.9, 2.0):
        bound, measured = jax.device_get(measure(scale))
        np.testing.assert_allclose(bound, np.log(scale), atol=1e-5, rtol=0)  # of an orthogonal kernel
        assert (measured[:, 0] <= np.arange(41) * bound + 1e-4).all()
    assert normality.log_bound(2 * jnp.eye(3), max_slope=0.25) == pytest.approx(np.log(0.5))


def test_omega_by_matrices():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        generator = np.random.default_rng(3)
        signal = jax.tree.map(lambda leaf: generator.normal(size=(7, *leaf.shape)), system.initial_state)
        omega = jax.jit(lambda params, signal: omega_terms(system._replace(params=params), signal))
        terms = omega(system.params, signal)
        vectors = np.concatenate(jax.tree.leaves(signal), axis=-1)[1:, :, None]
        pulled = np.linalg.norm(vectors @ systems.matrices(system), axis=-1)[..., 0]
        expected = (pulled / np.linalg.norm(vectors, axis=-1)[..., 0] - 1) ** 2
        own = np.arange(6)[:, None] < np.array(LENGTHS)
        np.testing.assert_allclose(terms, np.where(own, expected, 0), atol=1e-12, rtol=0)
        tiny = jax.tree.map(lambda leaf: 1e-300 * leaf, signal)
        np.testing.assert_allclose(omega(system.params, tiny), terms, atol=1e-12, rtol=0)
        nothing = jax.tree.map(np.zeros_like, signal)
        value, gradient = jax.jit(jax.value_and_grad(lambda params: omega(params, nothing).sum()))(
            system.params
        )
        assert value == 0
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradient))


def test_omegas_gradient_takes_states_and_signal_as_constants():
    """Each step begins anew from the state that it had, as a row of its own: so finite differences hold the states."""
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64")
        states = trajectory(system)
        signal = jax.random.normal(jax.random.key(3), states.shape)
        whole = lambda params: omega_terms(system._replace(params=params), signal).sum()
        rows = lambda array: array.reshape(1, 24, *array.shape[2:])
        apart = system._replace(initial_state=rows(states[:-1])[0], inputs=rows(system.inputs))
        signals = jnp.concatenate([jnp.zeros((1, 24, 5)), rows(signal[1:])])
        alone = jax.jit(lambda params: omega_terms(apart._replace(params=params), signals).sum())
        jax.test_util.check_grads(alone, (system.params,), order=1, modes=["rev"], rtol=1e-5)
        of_whole, of_alone = jax.jit(jax.grad(whole))(system.params), jax.grad(alone)(system.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12, rtol=0), of_whole, of_alone)


def test_omega_as_a_term_of_a_loss_keeps_the_signal():
    """As the docstring has it: 100 updates of a tanh net whose signal fades, with and without the term."""
    system = systems.driven(dl.RNNCell(8), steps=30, batch=4, scale=0.5)
    wanted = jnp.sin(jnp.arange(8.0))
    optimizer = optax.sgd(0.05)

    def loss(states):
        return ((states[-1] - wanted) ** 2).mean()

    def measures(params):
        recurrence = system._replace(params=params)
        states = trajectory(recurrence)
        delta = backward.backward_signal(recurrence, states, state_cotangents(loss, states))
        logs = wide_range.log_norm(delta)
        return loss(states), omega_terms(recurrence, delta.values).sum(axis=0).mean(), logs[0] - logs[-1]

    @jax.jit
    def trained(params, weight):
        def update(carry, _):
            params, state = carry
            total = lambda params: jnp.dot(jnp.array([1.0, weight]), jnp.array(measures(params)[:2]))
            updates, state = optimizer.update(jax.grad(total)(params), state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), None, 100)
        return measures(params)

    before = jax.jit(measures)(system.params)
    plain, kept = trained(system.params, 0.0), trained(system.params, 0.5)
    assert kept[0] < before[0]
    assert kept[1] < 0.5 * plain[1]
    assert (kept[2] > plain[2] + np.log(10)).all()


def test_departure_from_normality():
    with jax.enable_x64(True):
        matrix = jax.random.normal(jax.random.key(0), (3, 7, 7))
        eigenvalues = np.linalg.eigvals(np.asarray(matrix))
        squares = (np.asarray(matrix) ** 2).sum((1, 2)) - (abs(eigenvalues) ** 2).sum(1)
        np.testing.assert_allclose(normality.departure_from_normality(matrix), np.sqrt(squares), rtol=1e-12)
        for normal in (matrix[0] + matrix[0].T, jnp.linalg.qr(matrix[0])[0]):
            assert normality.departure_from_normality(normal) < 1e-13
