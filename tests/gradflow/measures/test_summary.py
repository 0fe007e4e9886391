"""The survey's numbers are those of plain calculations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.recurrence import Recurrence
from dlcore.gradflow.measures.summary import GAINS, NAMES, summarize, summary_names
from tests.helpers.recurrences import recurrence


def linear(matrix, steps, state=0.0):
    """``s_t = W s_{t-1} + theta``, of theta ``[n]`` alone as parameters."""
    matrix = jnp.array(matrix)
    start = jnp.full((1, len(matrix)), state)
    step = lambda theta, s, x: s @ matrix.T + theta
    return Recurrence(step, jnp.zeros(len(matrix)), start, jnp.zeros((steps, 1, 0)))


def measured(system):
    return {name: float(value) for name, value in jax.jit(lambda: summarize(system))().items()}


def test_a_contraction_is_known_in_every_number():
    """0.9^lag in both directions; 1 - 0.9^(L + 1) >= 0.9 (1 - 0.9^64) for L = 21."""
    found = measured(linear(0.9 * np.eye(2), 64))
    assert set(found) == set(NAMES)
    rate = np.log(0.9)
    np.testing.assert_allclose([found["lyapunov"], found["slope"]], rate, rtol=1e-4)
    np.testing.assert_allclose(found["half_life"], np.log(2) / -rate, rtol=1e-4)
    lags = np.arange(4, 65, 4)
    expected = lags * rate / np.log(10)
    np.testing.assert_allclose([found[name] for name in GAINS], expected, atol=1e-5)
    shares = np.cumsum(0.9 ** np.arange(64))
    assert found["covering_lag"] == np.argmax(shares >= 0.9 * shares[-1])
    assert (found["zero_share"], found["first_nonfinite"], found["dead_share"]) == (0, -1, 1)


def test_what_is_lost_at_once_is_exactly_0():
    found = measured(linear([[0.0, 1.0], [0.0, 0.0]], 16, state=1.0))  # W^2 = 0
    np.testing.assert_allclose(found["zero_share"], 15 / 17)
    assert (found["lyapunov"], found["half_life"], found["log10_gain_16/16"]) == (-np.inf, 0, -np.inf)
    assert found["covering_lag"] <= 1


def test_an_overflow_is_said():
    found = measured(linear(np.diag([10.0, 1.0]), 64, state=1.0))
    assert found["first_nonfinite"] == 39  # 10^39
    assert np.isnan(found["log10_gain_16/16"])
    assert found["covering_lag"] == -1


def test_units_that_are_0_are_counted():
    half = linear(np.diag([1.0, 1.0, 0.0, 0.0]), 32, state=1.0)
    assert measured(half)["dead_share"] == 0.5


def test_what_is_kept_has_the_gain_one():
    found = measured(linear(np.eye(7), 32, state=1.0))
    np.testing.assert_allclose([found[name] for name in GAINS], 0, atol=1e-6)


def test_a_spectrum_has_its_names():
    found = jax.jit(lambda: summarize(linear(np.diag([0.9, 0.5, 0.3]), 64), exponents=2))()
    assert set(found) == set(summary_names(2)) == {*NAMES, "lyapunov_2"}
    np.testing.assert_allclose([found["lyapunov"], found["lyapunov_2"]], np.log([0.9, 0.5]), rtol=1e-4)


def test_what_it_does_not_measure_is_refused():
    with pytest.raises(ValueError, match="lengths: got some, expected None; cut the row"):
        summarize(linear(np.eye(2), 16)._replace(lengths=jnp.array([9])))
    with pytest.raises(ValueError, match="probes: got 0"):
        summarize(linear(np.eye(2), 16), probes=0)


def test_one_row_at_a_time():
    with pytest.raises(ValueError, match="recurrence: got 4 rows, expected 1"):
        summarize(recurrence("gru"))
