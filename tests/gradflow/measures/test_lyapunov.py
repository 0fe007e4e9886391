"""Lyapunov exponents where they are known: of linear maps, periodic orbits, minGRU; and where two ways must agree."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lyapunov import largest_exponent, lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from tests.helpers import systems
from tests.helpers.recurrences import CELLS, recurrence

SIZE = 32


def ginibre(seed=0, size=SIZE):
    """A matrix of independent normal entries, its eigenvalues evenly spread over the unit disk."""
    return np.random.default_rng(seed).normal(size=(size, size)) / np.sqrt(size)


def symmetric():
    """Eigenvalues of both signs from 1.2 down to 0.1, far enough apart for the directions to settle."""
    rotation, _ = np.linalg.qr(ginibre())
    return (rotation * (np.geomspace(1.2, 0.1, SIZE) * (-1) ** np.arange(SIZE))) @ rotation.T


def log_moduli(matrix):
    return np.sort(np.log(np.abs(np.linalg.eigvals(matrix))))[::-1]


def compiled(measure, system, *arguments, **options):
    """As one program."""
    return np.asarray(jax.jit(lambda: measure(system, *arguments, **options))())


@pytest.mark.parametrize(
    ("matrix", "bound"), [(symmetric(), 1e-12), (ginibre(), 2e-3)], ids=["symmetric", "Ginibre"]
)
def test_linear_maps_have_the_logarithms_of_their_eigenvalues(matrix, bound):
    with jax.enable_x64(True):
        exponents = compiled(lyapunov_spectrum, systems.linear(matrix, 1000))[0]
        np.testing.assert_allclose(exponents, log_moduli(matrix), atol=bound, rtol=0)


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_the_sum_is_the_logarithm_of_the_determinant_at_any_length(steps):
    with jax.enable_x64(True):
        matrix = ginibre()
        exponents = compiled(lyapunov_spectrum, systems.linear(matrix, steps), warm_up=0)
        np.testing.assert_allclose(exponents.sum(), np.linalg.slogdet(matrix)[1], atol=1e-12, rtol=0)


def test_a_period_of_three_maps_has_floquets_multipliers():
    """And not those of the maps in the opposite order, which is what pushing ``J^T`` forward in time would give."""
    with jax.enable_x64(True):
        maps = np.stack([ginibre(seed, 6) for seed in range(3)])
        exponents = compiled(lyapunov_spectrum, systems.switched(maps, 3000), warm_up=600)[0]
        floquet = log_moduli(maps[2] @ maps[1] @ maps[0]) / 3
        np.testing.assert_allclose(exponents, floquet, atol=1e-3, rtol=0)
        assert np.abs(log_moduli(maps[0] @ maps[1] @ maps[2]) / 3 - floquet).max() > 0.01


def test_a_net_on_a_period_of_three_has_floquets_multipliers():
    with jax.enable_x64(True):
        system = systems.driven(dl.RNNCell(6), steps=3000, dtype="float64", scale=0.9)
        system = system._replace(inputs=jnp.asarray(np.asarray(system.inputs)[np.arange(3000) % 3]))
        inputs, states = np.asarray(system.inputs), np.asarray(trajectory(system))
        last = system._replace(inputs=jnp.asarray(inputs[-3:]), initial_state=jnp.asarray(states[-4]))
        first, second, third = systems.matrices(last)[:, 0]
        exponents = compiled(lyapunov_spectrum, system, warm_up=600)[0]
        np.testing.assert_allclose(exponents, log_moduli(third @ second @ first) / 3, atol=1e-3, rtol=0)


def test_min_gru_has_the_mean_of_its_log_gates():
    with jax.enable_x64(True):
        system, logs = systems.min_gru(1000, np.linspace(-2.0, 5.0, 8))
        expected = np.sort(logs[250:].mean(axis=0))[:, ::-1]
        np.testing.assert_allclose(compiled(lyapunov_spectrum, system), expected, atol=1e-12, rtol=0)


@functools.cache
def measured(name):
    """lambda_1 and the growth of the backward signal over the same steps of 4000, of several scales as one program.

    In chaos, two programs that round differently go different ways, and only means over rows agree.
    """
    system = systems.driven(CELLS[name].clone(features=16), steps=4000, batch=32)

    @jax.jit
    @jax.vmap
    def measure(scale):
        scaled = system._replace(
            params={**system.params, "recurrent_kernel": scale * system.params["recurrent_kernel"]}
        )
        states = trajectory(scaled)
        last = state_cotangents(
            lambda states: sum(leaf[-1].sum() for leaf in jax.tree.leaves(states)), states
        )
        signal = backward(scaled, states, last).log_signal
        return largest_exponent(scaled).mean(), (signal[1000] - signal[4000]).mean() / 3000

    return tuple(np.asarray(result) for result in measure(jnp.geomspace(0.3, 8.0, 12)))


@pytest.mark.parametrize(
    "name", ["tanh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "lstm"))]
)
def test_the_largest_one_is_the_rate_of_the_backward_signal(name):
    exponent, rate = measured(name)
    clear = np.abs(exponent) > 0.05
    assert clear.sum() >= 4
    np.testing.assert_allclose(rate[clear], exponent[clear], rtol=0.05)


def test_an_lstm_has_exponents_of_its_cell_too():
    with jax.enable_x64(True):
        system = systems.driven(dl.LSTMCell(5), steps=300, dtype="float64")
        exponents, first = jax.jit(
            lambda: (lyapunov_spectrum(system, warm_up=0), largest_exponent(system, warm_up=0))
        )()
        assert exponents.shape == (1, 10)
        volume = np.linalg.slogdet(systems.matrices(system)[:, 0])[1].mean()
        np.testing.assert_allclose(exponents.sum(), volume, atol=1e-12, rtol=0)
        np.testing.assert_allclose(first, exponents[:, 0], atol=0.02, rtol=0)


def test_the_fixed_point_decays_as_its_jacobian_and_strong_coupling_is_chaos():
    quiet = systems.autonomous(0.5)
    measure = jax.jit(lambda kernel: largest_exponent(quiet._replace(params=kernel)))
    assert measure(quiet.params)[0] == pytest.approx(log_moduli(quiet.params)[0], abs=5e-3)
    assert measure(6 * quiet.params)[0] > 0.05


def test_qr_every_few_steps_gives_the_same():
    with jax.enable_x64(True):
        system = systems.driven(dl.GRUCell(6), steps=103, dtype="float64", batch=2)
        expected, *found = jax.jit(
            lambda: [lyapunov_spectrum(system, warm_up=20, every=n) for n in (1, 4, 7)]
        )()
        for exponents in found:
            np.testing.assert_allclose(exponents, expected, atol=1e-9, rtol=0)


def test_rows_count_their_own_steps():
    system = systems.driven(dl.LSTMCell(4), steps=30, batch=4)
    padded = system._replace(lengths=jnp.array([30, 12, 5, 0]))

    @jax.jit
    def measured():
        alone = [
            lyapunov_spectrum(system._replace(inputs=system.inputs[:length]), warm_up=5)
            for length in (30, 12)
        ]
        return lyapunov_spectrum(padded, warm_up=5), alone

    exponents, alone = jax.device_get(measured())
    for row, own in enumerate(alone):
        np.testing.assert_allclose(exponents[row], own[row], atol=1e-4, rtol=0)
    assert np.isnan(exponents[2:]).all()


def test_a_lost_direction_is_minus_infinity_and_an_overflow_nan():
    singular = systems.linear(np.diag([2.0, 0.0]), 10)
    np.testing.assert_allclose(
        compiled(lyapunov_spectrum, singular, warm_up=5), [[np.log(2), -np.inf]], rtol=1e-5
    )
    growing = singular._replace(initial_state=jnp.ones((1, 2)), inputs=jnp.zeros((200, 1, 0)))
    assert np.isnan(compiled(lyapunov_spectrum, growing)).all()
    assert np.isnan(compiled(largest_exponent, growing)).all()


def test_its_derivative():
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64")
        total = jax.jit(
            lambda params: (lyapunov_spectrum(system._replace(params=params), 3, warm_up=2) ** 2).sum()
        )
        jax.test_util.check_grads(total, (system.params,), order=1, modes=["fwd", "rev"], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exponents": 0}, "exponents: got 0, expected an integer >= 1"),
        ({"exponents": 11}, "exponents: got 11, expected at most the size of the state, 10"),
        ({"warm_up": 6}, "warm_up: got 6, expected less than the number of steps, 6"),
        ({"warm_up": -1}, "warm_up: got -1, expected an integer >= 0"),
        ({"every": 0}, "every: got 0, expected an integer >= 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum(recurrence("lstm"), **options)
