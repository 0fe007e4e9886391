"""The summary's numbers are those of plain calculations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures.recurrence import Recurrence, trajectory
from dlcore.gradflow.measures.summary import (
    GAINS,
    NAMES,
    first_nonfinite,
    fit_rate,
    half_life,
    halved_at,
    summarize,
    summary_names,
)
from tests.helpers import systems

STEPS = 64


def linear(matrix, state=0.0):
    """``s_t = W s_{t-1} + theta``, with theta ``[n]`` as the only parameter."""
    matrix = jnp.asarray(matrix, jnp.float32)
    start = jnp.full((1, len(matrix)), state)
    step = lambda theta, s, x: s @ matrix.T + theta
    return Recurrence(step, jnp.zeros(len(matrix)), start, jnp.zeros((STEPS, 1, 0)))


@functools.cache
def program():
    """One program for all matrices of two units."""
    return jax.jit(lambda matrix, state: summarize(linear(matrix, state), exponents=2))


def summary_of(matrix, state=0.0):
    values = program()(np.array(matrix, np.float32), np.float32(state))
    return {name: float(value) for name, value in values.items()}


def test_every_number_of_a_contraction_is_known():
    """0.9^lag in both directions; 1 - 0.9^(L + 1) >= 0.9 (1 - 0.9^64) for L = 21."""
    found = summary_of(0.9 * np.eye(2))
    rate = np.log(0.9)
    np.testing.assert_allclose([found["exponent_1"], found["exponent_2"], found["rate"]], rate, rtol=1e-4)
    half_lives = [found["half_life"], found["gain_half_life"]]
    np.testing.assert_allclose(half_lives, np.log(2) / -rate, rtol=1e-4)
    lags = np.arange(4, 65, 4)
    np.testing.assert_allclose([found[name] for name in GAINS], lags * rate / np.log(10), atol=1e-5)
    shares = np.cumsum(0.9 ** np.arange(64))
    assert found["covering_lag"] == np.argmax(shares >= 0.9 * shares[-1])
    assert (found["zero_gain"], found["first_nonfinite"], found["dead"]) == (0, -1, 1)


def test_two_half_lives_are_two_numbers():
    """A shear doubles what it passes at first, so that the gain decays more slowly than lambda_1 says."""
    found = summary_of([[0.9, 1.0], [0.0, 0.9]])
    products = [np.linalg.matrix_power([[0.9, 1.0], [0.0, 0.9]], lag) for lag in range(65)]
    gains = np.log([np.linalg.norm(product) / np.sqrt(2) for product in products])
    rate = np.polyfit(np.arange(65), gains, 1)[0]
    np.testing.assert_allclose(found["rate"], rate, rtol=1e-4)
    np.testing.assert_allclose(found["gain_half_life"], np.log(2) / -rate, rtol=1e-4)
    np.testing.assert_allclose(found["half_life"], np.log(2) / -found["exponent_1"], rtol=1e-5)
    assert found["gain_half_life"] > 1.2 * found["half_life"]


def test_a_gradient_that_is_lost_at_once_is_exactly_0():
    found = summary_of([[0.0, 1.0], [0.0, 0.0]], state=1.0)  # W^2 = 0
    np.testing.assert_allclose(found["zero_gain"], 63 / 65)
    assert (found["exponent_1"], found["half_life"], found["log10_gain_16/16"]) == (-np.inf, 0, -np.inf)
    assert found["covering_lag"] <= 1


def test_an_overflow_is_reported_by_its_time_step():
    found = summary_of(np.diag([10.0, 1.0]), state=1.0)
    assert found["first_nonfinite"] == 39  # 10^39
    assert np.isnan(found["log10_gain_16/16"])
    assert found["covering_lag"] == -1


def test_numbers_that_stay_0_are_dead():
    assert summary_of(np.diag([1.0, 0.0]), state=1.0)["dead"] == 0.5


def test_the_identity_has_the_gain_one_and_no_half_life():
    found = summary_of(np.eye(2), state=1.0)
    np.testing.assert_allclose([found[name] for name in GAINS], 0, atol=1e-6)
    assert found["half_life"] == np.inf


@pytest.mark.parametrize("exponents", [1, 3])
def test_names(exponents):
    expected = summary_names(exponents)
    system = linear(np.eye(3))
    assert set(jax.eval_shape(lambda: summarize(system, exponents=exponents))) == set(expected)
    assert expected == (*NAMES, *("exponent_2", "exponent_3")[: exponents - 1])


def test_a_recurrence_that_it_does_not_measure_is_refused():
    system = linear(np.eye(2))
    with pytest.raises(ValueError, match="lengths: got some, expected None; cut the row"):
        summarize(system._replace(lengths=jnp.array([9])))
    with pytest.raises(ValueError, match="recurrence: got 4 rows, expected 1; summarize each row"):
        summarize(system._replace(initial_state=jnp.zeros((4, 2)), inputs=jnp.zeros((STEPS, 4, 0))))
    with pytest.raises(ValueError, match="probes: got 0"):
        summarize(system, probes=0)


def test_first_nonfinite_state():
    grows = Recurrence(lambda w, h, x: h * w, jnp.array(10.0), jnp.ones((2, 1)), jnp.zeros((60, 2, 0)))
    grows = grows._replace(initial_state=jnp.array([[1.0], [0.0]]))
    assert jax.jit(lambda: first_nonfinite(trajectory(grows)))().tolist() == [39, -1]
    broken = {"c": jnp.zeros((3, 2, 1)), "h": jnp.full((3, 2, 4), jnp.nan)}
    assert first_nonfinite(broken).tolist() == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_an_expanding_relu_net_overflows_where_float32_ends(scale):
    """The same net in float64, which goes on, tells when a state leaves the range of float32."""
    with jax.enable_x64(True):
        exact = systems.driven(dl.IdentityRNNCell(8), steps=200, batch=3, scale=scale, dtype="float64")
        beyond = np.abs(trajectory(exact)).max(axis=-1) > np.finfo(np.float32).max
        system = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), exact._replace(step=None))
        found = first_nonfinite(trajectory(system._replace(step=exact.step)))
    assert beyond[-1].all()
    assert found.tolist() == np.argmax(beyond, axis=0).tolist()


def test_fit_rate_leaves_out_what_is_not_finite():
    lags = np.arange(50.0)
    line = 3 - 0.25 * lags
    late = lags >= 20
    random = np.random.default_rng(0).normal(size=50)
    table = np.stack([line, np.where(late, -np.inf, line), np.where(late, np.nan, line), random], 1)
    expected = [-0.25] * 3 + [np.polyfit(lags, random, 1)[0]]
    rates = jax.jit(fit_rate)(table)
    np.testing.assert_allclose(rates, expected, rtol=1e-4)
    np.testing.assert_allclose(fit_rate(jnp.where(lags < 9, 0.0, line), first=9), -0.25, rtol=1e-5)
    assert np.isnan(fit_rate(jnp.array([0.0, -jnp.inf])))


def test_half_life_of_a_rate():
    assert half_life(-0.25) == pytest.approx(4 * np.log(2), rel=1e-5)
    assert np.isnan(half_life(jnp.nan))


def test_two_modes_are_halved_before_the_half_life_of_the_slower_one():
    """Modes .5 and .99: the gain falls below 1/2 at 35 steps, the largest exponent gives 69."""
    found = summary_of(np.diag([0.5, 0.99]))
    gains = np.sqrt((0.5 ** (2 * np.arange(65)) + 0.99 ** (2 * np.arange(65))) / 2)
    assert np.argmax(gains <= 0.5) == 35
    assert found["gain_halved_at"] == 35
    assert found["half_life"] == pytest.approx(np.log(2) / -np.log(0.99), rel=1e-3)  # 68.97
    assert summary_of(0.99 * np.eye(2))["gain_halved_at"] == -1  # not within 64 lags


def test_halved_at_finds_the_first_lag_of_each_column():
    logs = jnp.log(jnp.array([[1.0, 2.0, 1.0], [0.5, 1.5, 2.0], [0.6, 0.0, 3.0]]))
    assert halved_at(logs).tolist() == [1, 2, -1]
    assert halved_at(jnp.zeros(0)) == -1
    assert halved_at(jnp.full(3, jnp.nan)) == -1


def test_a_recurrence_without_steps_has_a_summary():
    system = linear(np.eye(2))
    found = summarize(system._replace(inputs=system.inputs[:0]))
    assert (found["covering_lag"], found["zero_gain"], found["first_nonfinite"]) == (0, 0, -1)
    assert np.isnan([found["exponent_1"], found["rate"], found["half_life"]]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_rate([0.0, -1.0]), TypeError, "log_norms: got list, expected an array"),
        (lambda: fit_rate(jnp.zeros(())), ValueError, r"log_norms: got shape \(\), expected \[lags, ...\]"),
        (lambda: fit_rate(jnp.zeros(3), first=-1), ValueError, "first: got -1"),
        (lambda: half_life("-1"), TypeError, "rate: got '-1', expected an array of floating point numbers"),
        (lambda: half_life(None), TypeError, "rate: got None"),
        (lambda: halved_at(jnp.zeros(3, int)), TypeError, "log_norms: got int32"),
        (lambda: first_nonfinite(()), ValueError, "states: got a tree without arrays"),
        (lambda: first_nonfinite(jnp.zeros(3)), ValueError, r"states: got shape \(3,\)"),
        (lambda: summarize(None), TypeError, "recurrence: got None, expected a Recurrence"),
        (lambda: summarize(linear(np.eye(2)), key=3), TypeError, "key: got 3, expected a random key"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
