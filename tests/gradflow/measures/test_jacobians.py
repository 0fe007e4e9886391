"""Norms of products of Jacobians against `jax.jacrev`, NumPy's products and its SVD."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import jacobians
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from dlcore.gradflow.measures.summary import first_nonfinite, fit_rate
from tests.helpers import reference, systems
from tests.helpers.recurrences import CELLS, recurrence, sum_of_last_state

LENGTHS = (6, 1, 0, 4)
LN10 = np.log(10)
SLOW = pytest.mark.slow  # compilation


def slow(*cases):
    return [pytest.param(case, marks=SLOW) for case in cases]


def logs(matrices, order):
    with np.errstate(divide="ignore"):
        return np.log([np.linalg.norm(matrix, order) for matrix in matrices])


@pytest.mark.parametrize("kind", ["lstm", *slow("tanh", "irnn", "stack")])
def test_norms_of_all_lags_are_those_of_multiplied_matrices(kind):
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", lengths=LENGTHS)
        *found, matrices = jax.device_get(
            jax.jit(
                lambda: (
                    jacobians.log_singular_values(system),
                    jacobians.log_products(system, "frobenius"),
                    jacobians.log_products_by_probes(system, probes=99),
                    systems.jacobian_matrices(system),
                )
            )()
        )
    values, *frobenius = found
    for row, length in enumerate(LENGTHS):
        products = systems.products(matrices[:, row], length)
        for result in frobenius:
            np.testing.assert_allclose(result[: length + 1, row], logs(products, None), atol=1e-10, rtol=0)
        expected = [np.linalg.svd(product, compute_uv=False) for product in products]
        np.testing.assert_allclose(np.exp(values[: length + 1, row]), expected, atol=1e-12, rtol=0)
        for result in found:
            assert np.isnan(result[length + 1 :, row]).all()


@pytest.mark.slow
def test_spectral_norms_of_padded_rows_at_chosen_and_at_all_lags():
    """12 columns span a state of 5, so that the subspace is exact. NaN in the padding changes nothing."""
    lags = (5, 0, 1, 4)
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64", lengths=LENGTHS)

        @jax.jit
        def measured(inputs):
            padded = system._replace(inputs=inputs)
            return (
                jacobians.log_products_by_subspace(padded, lags),
                jacobians.log_products(padded),
                jacobians.log_products_by_probes(padded),
                systems.jacobian_matrices(padded),
            )

        inputs = np.asarray(system.inputs)
        padding = np.arange(6)[:, None] >= np.array(LENGTHS)
        found, of_dirty = jax.device_get(
            [measured(inputs), measured(np.where(padding[..., None], np.nan, inputs))]
        )
    for clean, dirty in zip(found[:3], of_dirty[:3], strict=True):
        np.testing.assert_array_equal(clean, dirty)
    chosen, every, _, matrices = found
    for row, length in enumerate(LENGTHS):
        expected = np.full(7, np.nan)
        expected[: length + 1] = logs(systems.products(matrices[:, row], length), 2)
        np.testing.assert_allclose(every[:, row], expected, atol=1e-10, rtol=0)
        np.testing.assert_allclose(chosen[:, row], expected[list(lags)], atol=1e-10, rtol=0)


def toy(weights, steps):
    """The lecture's toy example ``h_t = w h_{t-1} + x_t``; each row has its w."""
    nothing = jnp.zeros((steps, *weights.shape), weights.dtype)
    return Recurrence(lambda w, h, x: w * h + x, weights, jnp.zeros_like(weights), nothing)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), pytest.param("float64", 1e-9, marks=SLOW)])
def test_lectures_toy_example_over_ten_thousand_steps(dtype, bound):
    """``w^l`` for all lags l, from 10^-30000 to 10^30000."""
    weights = np.array((1e-3, 0.01, 0.5, 0.99, 1.0, 1.01, 2.0, 1e3), dtype)
    with jax.enable_x64(dtype == "float64"):
        system = toy(jnp.asarray(weights)[:, None], 10_000)
        found = jax.device_get(
            jax.jit(
                lambda: (
                    jacobians.log_products(system, "frobenius"),
                    jacobians.log_products_by_probes(system),
                )
            )()
        )
    expected = np.arange(10_001)[:, None] * np.log(weights.astype(np.float64))
    for result in found:
        assert np.isfinite(result).all()
        error = np.abs(result.astype(np.float64) - expected) / LN10
        # From 65,536 nats on, adjacent float32 numbers are 0.0034 powers of ten apart.
        assert (error <= bound + np.spacing(np.abs(result)) / LN10).all()
        assert error[:1001].max() <= bound


@SLOW
def test_lectures_toy_example_by_singular_values():
    """0.01^999 is 0 in every floating point format."""
    system = toy(jnp.array([[0.01]]), 999)
    for result in jax.jit(
        lambda: (jacobians.log_products(system), jacobians.log_products_by_subspace(system, (999,)))
    )():
        np.testing.assert_allclose(result[-1, 0] / LN10, -1998, rtol=1e-6)


@functools.cache
def swept(name):
    """A cell at T = 1000 and H = 8 with recurrent kernels at 16 scales, in one program."""
    system = systems.driven(CELLS[name].clone(features=8), steps=1000, batch=2)

    @jax.jit
    @jax.vmap
    def measure(scale):
        scaled = systems.scaled(system, scale)
        broken = first_nonfinite(trajectory(scaled))
        return (
            jacobians.log_products(scaled, "frobenius"),
            jacobians.log_products_by_probes(scaled, 4),
            broken,
        )

    return jax.device_get(measure(np.logspace(-1, 1, 16)))


@SLOW
@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_no_scale_leaves_the_range_of_logarithms(name):
    exact, estimated, broken = swept(name)
    assert (broken == -1).all()
    assert np.isfinite(exact).all()
    assert np.isfinite(estimated).all()
    assert exact.min() / LN10 < -80  # far beyond float32
    assert np.abs(estimated - exact).max() / LN10 < 0.5


@SLOW
def test_a_relu_net_that_overflows_is_nan():
    exact, estimated, broken = swept("irnn")
    assert (broken[-1] > 0).all()
    assert (broken[0] == -1).all()
    for result in (exact, estimated):
        assert (np.isnan(result).any(axis=1) == (broken > 0)).all()
        assert not np.isnan(result[:, 0]).any()


MEASURES = {
    "spectral": jacobians.log_products,
    "subspace": functools.partial(jacobians.log_products_by_subspace, lags=range(10)),
    "probes": functools.partial(jacobians.log_products_by_probes, probes=2),
}


@pytest.mark.parametrize("name", ["spectral", *slow("subspace", "probes")])
def test_a_dead_relu_is_an_exact_zero_and_an_overflow_is_nan(name):
    """A sudden negative input ends the gradient of row 0; row 1 overflows in step 4."""
    step = lambda w, h, x: jax.nn.relu(h @ w + x)
    inputs = jnp.ones((9, 2, 2)).at[4, 0].set(-100.0).at[4, 1].set(jnp.inf)
    system = Recurrence(step, jnp.eye(2), jnp.ones((2, 2)), inputs)
    result = jax.jit(lambda: MEASURES[name](system))()
    if name == "probes":
        np.testing.assert_allclose(result[:, 0], [np.log(2) / 2] * 5 + [-np.inf] * 5, rtol=1e-6)
    else:
        np.testing.assert_array_equal(result[:, 0], [0] * 5 + [-np.inf] * 5)
    assert np.isfinite(result[0, 1])
    assert np.isnan(result[1:, 1]).all()


@SLOW
@pytest.mark.parametrize("cell", [dl.RNNCell(16), dl.LSTMCell(16), dl.GRUCell(32)])
def test_probes_have_the_rate_and_nearly_the_offset(cell):
    system = systems.driven(cell, steps=200, batch=2)
    exact, estimated = jax.device_get(
        jax.jit(
            lambda keys: (
                jacobians.log_products(system, "frobenius"),
                jax.vmap(lambda key: jacobians.log_products_by_probes(system, key=key))(keys),
            )
        )(jax.random.split(jax.random.key(1), 8))
    )
    offsets = (estimated - exact) / LN10
    assert np.sqrt((offsets**2).mean()) < 0.15
    np.testing.assert_allclose(fit_rate(estimated[0], first=100), fit_rate(exact, first=100), rtol=2e-3)


def jacobians_of_tanh(system):
    """``J_t = diag(1 - h_t^2) U^T`` of a tanh net's only row, in NumPy."""
    params, inputs, hidden = jax.device_get((system.params, system.inputs[:, 0], system.initial_state[0]))
    for x in inputs:
        hidden = reference.rnn(params, hidden, x)
        yield (1 - hidden**2)[:, None] * params["recurrent_kernel"].T


@SLOW
@pytest.mark.parametrize("cell", [dl.RNNCell(48), dl.RNNCell(256), dl.LSTMCell(128)])
def test_subspace_iteration_of_large_states(cell):
    """Also at lag 1, where the singular values of an orthogonal kernel are close together."""
    lags = (0, 1, 3, 10, 30)
    with jax.enable_x64(True):
        system = systems.driven(cell, steps=30, dtype="float64", scale=1.2)
        result = np.asarray(jax.jit(lambda: jacobians.log_products_by_subspace(system, lags))())
        if isinstance(cell, dl.LSTMCell):
            matrices = np.asarray(jax.jit(lambda: systems.jacobian_matrices(system))())[:, 0]
        else:
            matrices = np.stack(list(jacobians_of_tanh(system)))
    expected = logs(systems.products(matrices, 30), 2)[list(lags)]
    np.testing.assert_allclose(result[:, 0], expected, atol=1e-4, rtol=0)
    assert (result[:, 0] <= expected + 1e-10).all()


@SLOW
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_products_decay_as_the_backward_signal_does(kind):
    system = systems.driven(CELLS[kind].clone(features=12), steps=400)

    @jax.jit
    def rates():
        states = trajectory(system)
        signal = backward(system, states, state_cotangents(sum_of_last_state, states)).log_signal[::-1]
        return fit_rate(signal, 50), fit_rate(jacobians.log_products(system), 50)

    np.testing.assert_allclose(*rates(), rtol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: jacobians.log_products(r, "nuclear"), "norm: got 'nuclear', expected \"spectral\" or"),
        (lambda r: jacobians.log_products_by_probes(r, probes=0), "probes: got 0, expected an integer >= 1"),
        (
            lambda r: jacobians.log_products_by_subspace(r, [1, 7]),
            "lags: got 7, expected at most the number of steps, 6",
        ),
        (lambda r: jacobians.log_products_by_subspace(r, [-1]), "lags: got -1, expected an integer >= 0"),
        (
            lambda r: jacobians.log_products_by_subspace(r, [1], block=0),
            "block: got 0, expected an integer >= 1",
        ),
        (
            lambda r: jacobians.log_products_by_subspace(r, [1], rounds=-1),
            "rounds: got -1, expected an integer >= 0",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(recurrence("tanh"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lags": None}, TypeError, "lags: got None, expected an integer"),
        ({"lags": ["1"]}, TypeError, "lags: got '1', expected an integer"),
        ({"lags": [1], "tolerance": "x"}, TypeError, "tolerance: got 'x', expected a number"),
        ({"lags": [1], "tolerance": -1.0}, ValueError, "tolerance: got -1.0"),
        ({"lags": [1], "key": "seed"}, TypeError, "key: got 'seed', expected a random key"),
    ],
)
def test_other_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        jacobians.log_products_by_subspace(recurrence("tanh"), **options)


@pytest.mark.parametrize(("steps", "rows"), [(0, 2), (3, 0)])
def test_products_of_no_step_and_of_no_row(steps, rows):
    system = systems.linear(np.eye(2, dtype=np.float32), steps)
    system = system._replace(initial_state=jnp.zeros((rows, 2)), inputs=jnp.zeros((steps, rows, 0)))
    for measure in (jacobians.log_products, jacobians.log_products_by_probes):
        np.testing.assert_allclose(measure(system)[0], measure(system)[-1], atol=1e-6)
        assert measure(system).shape == (steps + 1, rows)
    assert jacobians.log_products_by_subspace(system, [steps]).shape == (1, rows)
