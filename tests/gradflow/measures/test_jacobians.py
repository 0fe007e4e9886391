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
from dlcore.gradflow.measures.summary import first_nonfinite, slope
from tests.helpers import systems
from tests.helpers.recurrences import CELLS, recurrence

LENGTHS = (6, 1, 0, 4)
LN10 = np.log(10)


def logs(matrices, order):
    with np.errstate(divide="ignore"):
        return np.log([np.linalg.norm(matrix, order) for matrix in matrices])


COSTLY = pytest.mark.slow  # compilation
SOME = ("tanh", "lstm")


@pytest.mark.parametrize("kind", [*SOME, *(pytest.param(kind, marks=COSTLY) for kind in ("irnn", "stack"))])
def test_norms_of_all_lags_are_those_of_multiplied_matrices(kind):
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", lengths=LENGTHS)
        spectral, frobenius, values = jax.jit(
            lambda: (
                jacobians.log_products(system),
                jacobians.log_products(system, "frobenius"),
                jacobians.log_singular_values(system),
            )
        )()
        every = systems.matrices(system)
        for row, length in enumerate(LENGTHS):
            products = systems.products(every[:, row], length)
            np.testing.assert_allclose(spectral[: length + 1, row], logs(products, 2), atol=1e-10, rtol=0)
            np.testing.assert_allclose(frobenius[: length + 1, row], logs(products, None), atol=1e-10, rtol=0)
            expected = [np.linalg.svd(product, compute_uv=False) for product in products]
            np.testing.assert_allclose(np.exp(values[: length + 1, row]), expected, atol=1e-12, rtol=0)
            for result in (spectral, frobenius, values):
                assert np.isnan(result[length + 1 :, row]).all()


def test_padding_reaches_nothing():
    system = recurrence("lstm", lengths=LENGTHS)
    behind = np.arange(6)[:, None] >= np.array(LENGTHS)
    broken = jnp.asarray(np.where(behind[..., None], np.float32(np.nan), system.inputs))
    measures = (
        jacobians.log_products,
        jacobians.log_products_by_probes,
        functools.partial(jacobians.log_products_by_subspace, lags=(0, 1, 6)),
    )
    measured = jax.jit(lambda inputs: [measure(system._replace(inputs=inputs)) for measure in measures])
    for clean, padded in zip(measured(system.inputs), measured(broken), strict=True):
        np.testing.assert_array_equal(clean, padded)
        assert np.isfinite(padded[:, 0]).all()


WEIGHTS = (1e-3, 0.01, 0.5, 0.99, 1.0, 1.01, 2.0, 1e3)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), ("float64", 1e-9)])
def test_lectures_toy_example_over_ten_thousand_steps(dtype, bound):
    """``w^l`` for all lags l, from 10^-30000 to 10^30000, by products and by the signal: each row has its w."""
    with jax.enable_x64(dtype == "float64"):
        weights = jnp.array(WEIGHTS, dtype)[:, None]
        nothing = jnp.zeros((10_000, *weights.shape), dtype)
        toy = Recurrence(lambda w, h, x: w * h + x, weights, jnp.zeros_like(weights), nothing)

        @jax.jit
        def measured():
            states = trajectory(toy)
            last = state_cotangents(lambda states: states[-1].sum(), states)
            signal = backward(toy, states, last).log_signal
            return (
                jacobians.log_products(toy, "frobenius"),
                jacobians.log_products_by_probes(toy),
                signal[::-1],
            )

        expected = np.arange(10_001)[:, None] * np.log(np.asarray(weights, np.float64)[:, 0])
        for logs in jax.device_get(measured()):
            assert np.isfinite(logs).all()
            error = np.abs(np.asarray(logs, np.float64) - expected) / LN10
            # From 65,536 nats on, float32 has only every 0.0034th power of ten.
            assert (error <= bound + np.spacing(np.abs(logs)) / LN10).all()
            assert error[:1001].max() <= bound


def test_lectures_toy_example_by_singular_values():
    """0.01^999 is 0 in every floating point format."""
    toy = Recurrence(lambda w, h, x: w * h + x, jnp.array(0.01), jnp.zeros((1, 1)), jnp.zeros((999, 1, 1)))
    for result in jax.device_get(
        jax.jit(lambda: (jacobians.log_products(toy), jacobians.log_products_by_subspace(toy, (999,))))()
    ):
        np.testing.assert_allclose(result[-1, 0] / LN10, -1998, rtol=1e-6)


SCALES = np.logspace(-1, 1, 64)


@functools.cache
def swept(name):
    """A cell at T = 1000 and H = 16 with recurrent kernels at 64 scales: one compilation, one vmap."""
    system = systems.driven(CELLS[name].clone(features=16), steps=1000, batch=2)

    @jax.jit
    @jax.vmap
    def measure(scale):
        kernel = scale * system.params["recurrent_kernel"]
        scaled = system._replace(params={**system.params, "recurrent_kernel": kernel})
        broken = first_nonfinite(trajectory(scaled))
        return jacobians.log_products(scaled, "frobenius"), jacobians.log_products_by_probes(scaled), broken

    return tuple(map(np.asarray, measure(SCALES)))


@pytest.mark.parametrize("name", ["tanh", *(pytest.param(name, marks=COSTLY) for name in ("gru", "lstm"))])
def test_no_scale_leaves_the_range_of_logarithms(name):
    exact, estimated, broken = swept(name)
    assert (broken == -1).all()
    assert np.isfinite(exact).all()
    assert np.isfinite(estimated).all()
    assert exact.min() / LN10 < -80  # far beyond float32
    assert np.abs(estimated - exact).max() / LN10 < 0.5


def test_relu_ends_and_overflows_and_says_which():
    exact, estimated, broken = swept("irnn")
    assert (broken[-1] > 0).all()
    assert (broken[0] == -1).all()
    for result in (exact, estimated):
        assert (np.isnan(result).any(axis=1) == (broken > 0)).all()
        assert not np.isnan(result[:, 0]).any()


def test_a_dead_relu_is_an_exact_zero():
    step = lambda w, h, x: jax.nn.relu(h @ w + x)
    inputs = jnp.ones((9, 1, 2)).at[4].set(-100.0)
    system = Recurrence(step, jnp.eye(2), jnp.ones((1, 2)), inputs)
    spectral, chosen, frobenius = jax.jit(
        lambda: (
            jacobians.log_products(system),
            jacobians.log_products_by_subspace(system, range(10)),
            jacobians.log_products_by_probes(system, probes=2),
        )
    )()
    for result in (spectral, chosen):
        np.testing.assert_array_equal(result[:, 0], [0] * 5 + [-np.inf] * 5)
    np.testing.assert_allclose(frobenius[:, 0], [np.log(2) / 2] * 5 + [-np.inf] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    "cell",
    [dl.RNNCell(32), *(pytest.param(cell, marks=COSTLY) for cell in (dl.LSTMCell(16), dl.GRUCell(32)))],
)
def test_probes_have_the_slope_and_nearly_the_offset(cell):
    system = systems.driven(cell, steps=200, batch=2)
    exact, estimated, complete = jax.jit(
        lambda keys: (
            jacobians.log_products(system, "frobenius"),
            jax.vmap(lambda key: jacobians.log_products_by_probes(system, key=key))(keys),
            jacobians.log_products_by_probes(system, probes=99),
        )
    )(jax.random.split(jax.random.key(1), 8))
    offsets = np.asarray(estimated - exact) / LN10
    assert np.sqrt((offsets**2).mean()) < 0.15
    np.testing.assert_allclose(slope(estimated[0], first=100), slope(exact, first=100), rtol=2e-3)
    np.testing.assert_allclose(complete, exact, atol=1e-3, rtol=0)


@pytest.mark.parametrize("cell", [dl.RNNCell(256), pytest.param(dl.LSTMCell(128), marks=COSTLY)])
def test_subspace_iteration_at_256(cell):
    """Also at lag 1, where an orthogonal kernel's singular values lie close together."""
    lags = (0, 1, 3, 10, 30)
    with jax.enable_x64(True):
        system = systems.driven(cell, steps=30, dtype="float64", scale=1.2)
        product, expected = np.eye(256), [0.0]
        every = systems.matrices(system)[:, 0]
        for lag in range(1, 31):
            product = product @ every[-lag]
            if lag in lags:
                expected.append(np.log(np.linalg.norm(product, 2)))
        result = jax.jit(lambda: jacobians.log_products_by_subspace(system, lags))()
        np.testing.assert_allclose(result[:, 0], expected, atol=1e-4, rtol=0)
        assert (result[:, 0] <= np.array(expected) + 1e-10).all()


def test_subspace_of_shorter_rows_and_small_states():
    """12 columns of a state of 5: exact."""
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", lengths=LENGTHS)
        lags = (5, 0, 1, 4)
        found, expected = jax.jit(
            lambda: (jacobians.log_products_by_subspace(system, lags), jacobians.log_products(system))
        )()
        np.testing.assert_allclose(found, expected[jnp.array(lags)], atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", ["lstm", *(pytest.param(kind, marks=COSTLY) for kind in ("tanh", "gru"))])
def test_products_decay_as_the_backward_signal_does(kind):
    system = systems.driven(CELLS[kind].clone(features=12), steps=400)

    @jax.jit
    def rates():
        states = trajectory(system)
        last = state_cotangents(
            lambda states: sum(leaf[-1].sum() for leaf in jax.tree.leaves(states)), states
        )
        signal = backward(system, states, last).log_signal[::-1]
        return slope(signal, 50), slope(jacobians.log_products(system), 50)

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
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(recurrence("tanh"))
