"""Lyapunov exponents where they are known (linear maps, periodic orbits, minGRU), and where two ways must agree."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.lyapunov import largest_exponent, lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from dlcore.gradflow.measures.tangents import random_basis
from tests.helpers import reference, systems
from tests.helpers.recurrences import CELLS, recurrence, sum_of_last_state

SIZE = 32


def ginibre(seed=0, size=SIZE):
    """A matrix of independent normal entries, whose eigenvalues are spread evenly over the unit disk."""
    return np.random.default_rng(seed).normal(size=(size, size)) / np.sqrt(size)


def symmetric():
    """Eigenvalues of both signs from 1.2 down to 0.1, far enough apart for the directions to settle."""
    rotation, _ = np.linalg.qr(ginibre())
    return (rotation * (np.geomspace(1.2, 0.1, SIZE) * (-1) ** np.arange(SIZE))) @ rotation.T


def log_moduli(matrix):
    return np.sort(np.log(np.abs(np.linalg.eigvals(matrix))))[::-1]


def computed(measure, system, *arguments, **options):
    """The measure in NumPy, computed by one program."""
    return np.asarray(jax.jit(lambda: measure(system, *arguments, **options))())


def test_linear_maps_have_the_logarithms_of_their_eigenvalues():
    with jax.enable_x64(True):
        measure = jax.jit(lambda matrix: lyapunov_spectrum(systems.linear(matrix, 1000))[0])
        for matrix, bound in ((symmetric(), 1e-12), (ginibre(), 2e-3)):
            np.testing.assert_allclose(measure(matrix), log_moduli(matrix), atol=bound, rtol=0)


def test_the_sum_is_the_logarithm_of_the_determinant_at_any_length():
    """1, 7 and 300 steps, as three rows of one batch."""
    with jax.enable_x64(True):
        matrix = ginibre()
        system = systems.linear(matrix, 300)
        system = system._replace(
            initial_state=jnp.zeros((3, SIZE)), inputs=jnp.zeros((300, 3, 0)), lengths=jnp.array([1, 7, 300])
        )
        exponents = computed(lyapunov_spectrum, system, warm_up=0)
    np.testing.assert_allclose(exponents.sum(axis=1), np.linalg.slogdet(matrix)[1], atol=1e-12, rtol=0)


def test_a_period_of_three_maps_has_floquets_multipliers():
    """The multipliers of the maps in the opposite order, which pushing ``J^T`` forward in time gives, are different."""
    with jax.enable_x64(True):
        maps = np.stack([ginibre(seed, 6) for seed in range(3)])
        exponents = computed(lyapunov_spectrum, systems.switched(maps, 3000), warm_up=600)[0]
    floquet = log_moduli(maps[2] @ maps[1] @ maps[0]) / 3
    np.testing.assert_allclose(exponents, floquet, atol=1e-3, rtol=0)
    assert np.abs(log_moduli(maps[0] @ maps[1] @ maps[2]) / 3 - floquet).max() > 0.01


@pytest.mark.slow
def test_a_tanh_net_on_a_period_of_three_has_floquets_multipliers():
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64", steps=3, batch=1)
        inputs = np.tile(system.inputs, (1000, 1, 1))
        exponents = computed(lyapunov_spectrum, system._replace(inputs=jnp.asarray(inputs)), warm_up=600)[0]
    params, hidden = jax.device_get((system.params, system.initial_state[0]))
    product = np.eye(5)
    for t in range(300):  # to the orbit, and once around it
        hidden = reference.rnn(params, hidden, inputs[t, 0])
        if t >= 297:
            product = (1 - hidden**2)[:, None] * params["recurrent_kernel"].T @ product
    np.testing.assert_allclose(exponents, log_moduli(product) / 3, atol=1e-3, rtol=0)


def test_a_min_gru_has_the_mean_of_its_log_gates():
    with jax.enable_x64(True):
        system, logs = systems.min_gru(1000, np.linspace(-2.0, 5.0, 8))
        exponents = computed(lyapunov_spectrum, system)
    expected = np.sort(logs[250:].mean(axis=0))[:, ::-1]
    np.testing.assert_allclose(exponents, expected, atol=1e-12, rtol=0)


def exponents_and_rates(cell, steps, batch, scales):
    """lambda_1 and the rate of the backward signal over the same steps, means over rows, in one program.

    In chaos, two programs that round differently take different paths, and only means over rows agree.
    """
    system = systems.driven(cell, steps=steps, batch=batch)
    warm_up = steps // 4

    @jax.jit
    @jax.vmap
    def measure(scale):
        scaled = systems.scaled(system, scale)
        states = trajectory(scaled)
        signal = backward(scaled, states, state_cotangents(sum_of_last_state, states)).log_signal
        return largest_exponent(scaled).mean(), (signal[warm_up] - signal[-1]).mean() / (steps - warm_up)

    return map(np.asarray, measure(jnp.asarray(scales)))


@pytest.mark.slow
def test_the_largest_exponent_is_the_rate_of_the_backward_signal():
    exponent, rate = exponents_and_rates(CELLS["tanh"].clone(features=8), 1000, 4, [0.3, 0.6, 0.9])
    np.testing.assert_allclose(rate, exponent, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_the_largest_exponent_is_the_rate_of_the_backward_signal_in_order_and_chaos(name):
    cell = CELLS[name].clone(features=16)
    exponent, rate = exponents_and_rates(cell, 4000, 32, np.geomspace(0.3, 8.0, 12))
    clear = np.abs(exponent) > 0.05
    assert clear.sum() >= 4
    np.testing.assert_allclose(rate[clear], exponent[clear], rtol=0.05)


@pytest.mark.slow
def test_an_lstm_has_the_exponents_of_its_cell_too():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", steps=300, batch=1)
        exponents, first, matrices = jax.device_get(
            jax.jit(
                lambda: (
                    lyapunov_spectrum(system, warm_up=0),
                    largest_exponent(system, warm_up=0),
                    systems.jacobian_matrices(system),
                )
            )()
        )
    assert exponents.shape == (1, 10)
    volume = np.linalg.slogdet(matrices[:, 0])[1].mean()
    np.testing.assert_allclose(exponents.sum(), volume, atol=1e-11, rtol=0)
    np.testing.assert_allclose(first, exponents[:, 0], atol=0.02, rtol=0)


def test_a_fixed_point_decays_as_its_jacobian_and_strong_coupling_is_chaos():
    quiet = systems.autonomous(0.5)
    measure = jax.jit(lambda kernel: largest_exponent(quiet._replace(params=kernel)))
    assert measure(quiet.params)[0] == pytest.approx(log_moduli(quiet.params)[0], abs=5e-3)
    assert measure(6 * quiet.params)[0] > 0.05


@pytest.mark.slow
def test_fewer_decompositions_give_the_same():
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", steps=103, batch=2)
        every_step, every_seventh = jax.jit(
            lambda: [lyapunov_spectrum(system, warm_up=20, every=every) for every in (1, 7)]
        )()
        np.testing.assert_allclose(every_seventh, every_step, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_a_shorter_row_has_the_exponents_of_its_valid_steps():
    system = recurrence("tanh", steps=30)

    @jax.jit
    def measured():
        padded = system._replace(lengths=jnp.array([30, 12, 5, 0]))
        cut = system._replace(inputs=system.inputs[:12])
        return [lyapunov_spectrum(each, warm_up=5) for each in (padded, cut, system)]

    padded, cut, whole = jax.device_get(measured())
    np.testing.assert_allclose(padded[0], whole[0], atol=1e-4, rtol=0)
    np.testing.assert_allclose(padded[1], cut[1], atol=1e-4, rtol=0)
    assert np.isnan(padded[2:]).all()


def test_lengths_of_a_narrow_dtype_do_not_wrap_below_the_warm_up():
    system = recurrence("tanh", steps=30)
    measure = jax.jit(lambda lengths: largest_exponent(system._replace(lengths=lengths), warm_up=12))
    lengths = np.array([30, 14, 5, 0])
    narrow, wide = measure(lengths.astype(np.uint8)), measure(lengths)
    np.testing.assert_array_equal(narrow, wide)
    assert np.isnan(narrow[2:]).all()


def test_a_lost_direction_is_minus_infinity_and_an_overflow_is_nan():
    system = systems.linear(np.diag([2.0, 0.0]).astype(np.float32), 200)
    system = system._replace(initial_state=jnp.array([[0.0, 0.0], [1.0, 1.0]]), inputs=jnp.zeros((200, 2, 0)))
    spectra, largest = jax.jit(
        lambda: (lyapunov_spectrum(system, warm_up=5), largest_exponent(system, warm_up=5))
    )()
    np.testing.assert_allclose(spectra[0], [np.log(2), -np.inf], rtol=1e-5)
    np.testing.assert_allclose(largest[0], np.log(2), rtol=1e-5)
    assert np.isnan(spectra[1]).all()
    assert np.isnan(largest[1])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["rev", "fwd"])
def test_derivative_of_the_spectrum(mode):
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64")
        total = jax.jit(
            lambda params: (lyapunov_spectrum(system._replace(params=params), 3, warm_up=2) ** 2).sum()
        )
        jax.test_util.check_grads(total, (system.params,), order=1, modes=[mode], rtol=1e-5, eps=1e-6)


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


def test_the_warm_up_is_a_quarter_of_each_rows_own_steps():
    """Rows of 100, 26, 20, 1 and 0 steps in 100: each has the exponents of the same row alone."""
    lengths = np.array([100, 26, 20, 1, 0])
    padded = systems.autonomous(0.9, size=4, steps=100)
    state = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    padded = padded._replace(initial_state=state, inputs=jnp.zeros((100, 5, 0)), lengths=jnp.asarray(lengths))
    found = jax.jit(lambda: largest_exponent(padded))()
    basis = random_basis(padded, 1)
    for row, length in enumerate(lengths[:3]):
        expected = growth_of(padded, row, np.asarray(basis[row, :, 0]), length)[length // 4 :].mean()
        assert found[row] == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(found[3])
    assert np.isnan(found[4])


def growth_of(system, row, vector, length):
    """The log of the factor by which each step stretches a tangent, in NumPy."""
    state, kernel, logs = np.asarray(system.initial_state[row]), np.asarray(system.params), []
    for _ in range(length):
        state = np.tanh(state @ kernel)
        vector = (1 - state**2) * (vector @ kernel)
        logs.append(np.log(np.linalg.norm(vector)))
        vector = vector / np.linalg.norm(vector)
    return np.array(logs)


@pytest.mark.parametrize("size", [2, 8, 33])
def test_a_step_of_lower_rank_loses_its_other_directions(size):
    """A matrix of rank 1 leaves rounding errors on the diagonal of R, which are no exponents."""
    left, right = np.random.default_rng(size).normal(size=(2, size))
    system = systems.linear(np.outer(left, right).astype(np.float32), 40)
    found = jax.jit(lambda: lyapunov_spectrum(system))()[0]
    assert found[0] == pytest.approx(np.log(abs(left @ right)), abs=1e-4)
    assert np.isneginf(found[1:]).all()


def test_units_that_are_dead_are_lost_directions():
    """Four of eight ReLU units are dead: four finite exponents."""
    kernel = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    alive = np.arange(8) % 2 == 0
    bias = jnp.where(alive, 100.0, -100.0)
    step = lambda w, s, x: jax.nn.relu(s @ w + bias) - jax.nn.relu(bias)  # the state stays 0
    system = Recurrence(step, jnp.asarray(kernel), jnp.zeros((1, 8)), jnp.zeros((40, 1, 0)))
    found = jax.jit(lambda: lyapunov_spectrum(system))()[0]
    expected = log_moduli(kernel[alive][:, alive])
    np.testing.assert_allclose(found[:4].mean(), expected.mean(), atol=1e-3)
    assert np.isneginf(found[4:]).all()


def test_a_strong_contraction_is_no_lost_direction():
    """Rates that differ by 20 nats a step, which one step in float32 cannot resolve from random directions."""
    system = systems.linear(np.diag(np.array([1.0, 1e-9], np.float32)), 40)
    found = jax.jit(lambda: lyapunov_spectrum(system))()[0]
    np.testing.assert_allclose(found, [0, np.log(1e-9)], atol=1e-4)


@pytest.mark.parametrize(("steps", "rows"), [(0, 2), (1, 2), (3, 0)])
def test_sequences_and_batches_without_entries_are_measured(steps, rows):
    system = systems.linear(np.eye(2, dtype=np.float32), steps)
    system = system._replace(initial_state=jnp.zeros((rows, 2)), inputs=jnp.zeros((steps, rows, 0)))
    found = lyapunov_spectrum(system)
    assert found.shape == (rows, 2)
    assert (np.isnan(found) if steps == 0 else np.abs(found) < 1e-6).all()
