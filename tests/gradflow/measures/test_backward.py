"""The reverse scan against autodiff of plain loops, the complex step, closed forms, and the traps of other tools."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import backward, backward_signal
from dlcore.gradflow.measures.recurrence import Recurrence, trajectory
from tests.helpers import reference, systems
from tests.helpers.recurrences import (
    CASES,
    LENGTHS,
    measure,
    of_all_states,
    of_last_state,
    recurrence,
    stacked,
    sum_of_last_state,
    unrolled,
)

SLOW = pytest.mark.slow  # compilation
BOUNDS = {"float32": 2e-5, "float64": 1e-12}


def cases(*default):
    """All kinds with and without lengths, of which only the default ones are quick enough for every run."""
    return [case if case in default else pytest.param(*case, marks=SLOW) for case in CASES]


def flow_of(system, loss=of_all_states):
    return measure(backward, system, loss)


def in_numpy(trees):
    """The trees' leaves, stacked along a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))


def norms(tree, axes):
    """The norms over all but the first axes."""
    squares = [
        (leaf**2).sum(axis=tuple(range(axes, leaf.ndim))) for leaf in map(np.asarray, jax.tree.leaves(tree))
    ]
    return np.sqrt(sum(squares))


def close(ours, theirs, bound):
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=bound * max(1, float(abs(other).max())), rtol=0)


@pytest.mark.parametrize(("kind", "lengths"), cases(("lstm", LENGTHS)))
def test_signal_and_shares_equal_those_of_a_plain_loop(kind, lengths):
    """delta_t is the derivative by a tap on s_t; for g_k, every step has its own copy of the parameters."""
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", lengths=lengths)
        taps = [jax.tree.map(np.zeros_like, system.initial_state)] * 7

        @jax.jit
        @functools.partial(jax.grad, argnums=(0, 1))
        def of_copies(copies, taps):
            return of_all_states(stacked(unrolled(system, copies.__getitem__, system.initial_state, 0, taps)))

        shares, deltas = map(in_numpy, of_copies([system.params] * 6, taps))
        both = lambda *given: (backward(*given), wide_range.to_floats(backward_signal(*given)))
        flow, signal = measure(both, system, of_all_states)
        close(np.exp(flow.log_signal), norms(deltas, 2), 1e-12)
        close(signal, deltas, 1e-12)
        close(np.exp(flow.log_gradient), norms(shares, 1), 1e-12)
        close(flow.gradient, jax.tree.map(lambda leaf: leaf.sum(axis=0), shares), 1e-12)
        for path, leaf in jax.tree_util.tree_leaves_with_path(shares):
            log = flow.log_gradient_of[jax.tree_util.keystr(path, simple=True, separator="/")]
            close(np.exp(log), norms(leaf, 1), 1e-12)


@SLOW
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "lengths"), CASES)
def test_gradient_equals_that_of_jax(kind, dtype, lengths):
    with jax.enable_x64(dtype == "float64"):
        system = recurrence(kind, dtype, lengths=lengths)
        whole = lambda params: of_all_states(trajectory(system._replace(params=params)))
        ours, expected = jax.jit(
            lambda params: (flow_of(system._replace(params=params)).gradient, jax.grad(whole)(params))
        )(system.params)
        close(ours, jax.device_get(expected), BOUNDS[dtype])


@SLOW
def test_signal_equals_that_of_autodiff_restarted_from_each_state():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        flow = flow_of(system)

        @jax.jit
        def restarted(states):
            def loss(state, t):
                after = unrolled(system, lambda t: system.params, state, t)
                return of_all_states(stacked([*states[:t], *after]))

            return [jax.grad(loss)(state, t) for t, state in enumerate(states)]

        states = jax.jit(lambda: unrolled(system, lambda t: system.params, system.initial_state))()
        close(np.exp(flow.log_signal), norms(in_numpy(restarted(states)), 2), 1e-12)


@SLOW
def test_gradient_against_the_complex_step():
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", lengths=LENGTHS)
        ours = flow_of(system, of_last_state).gradient
    inputs, state = np.asarray(system.inputs).swapaxes(0, 1), (np.asarray(system.initial_state),)

    def loss(params):
        final, _ = reference.unroll(reference.gru, params, inputs, state, LENGTHS)
        return (final[0] ** 2).sum()

    expected = reference.gradients(loss, jax.tree.map(np.asarray, dict(system.params)))
    close(ours, {name: expected[name] for name in ours}, 1e-12)


def toy(weight, inputs, state=None):
    """The lecture's toy example, ``h_t = w h_{t-1} + x_t``."""
    state = jnp.zeros(inputs.shape[1:], inputs.dtype) if state is None else state
    return Recurrence(lambda w, h, x: w * h + x, weight, state, inputs)


WEIGHTS = (1.01, 0.99, 0.01, 1e-3, 1e3)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), pytest.param("float64", 1e-9, marks=SLOW)])
def test_signal_of_the_lectures_toy_example(dtype, bound):
    """``dy_T / dh_t = w^(T - t)`` from 10^-30000 to 10^30000; each row has its own w."""
    with jax.enable_x64(dtype == "float64"):
        weights = jnp.array(WEIGHTS, dtype)
        flow = flow_of(toy(weights, jnp.zeros((10_000, 5), dtype)), sum_of_last_state)
        signal = np.asarray(flow.log_signal)[::-1]
        expected = np.arange(10_001)[:, None] * np.log(np.asarray(weights, np.float64))
    error = np.abs(signal.astype(np.float64) - expected) / np.log(10)
    # From 65,536 nats on, adjacent float32 numbers are 8e-3 apart.
    assert (error <= bound + np.spacing(np.abs(signal))).all()
    assert error[:1001].max() <= bound


@SLOW
def test_shares_of_the_toy_example_under_jit_and_vmap():
    """With ``h_k = w^(k-1)`` every ``g_k = h_{k-1} w^(T-k)`` is w^(T-2), and their sum is (T-1) w^(T-2).

    The second of the vmapped inputs is twice the first.
    """
    inputs = np.zeros((2, 1000, 1), np.float32)
    inputs[:, 0, 0] = 1, 2
    weights = np.array([0.99, 1.01], np.float32)
    flow = jax.jit(jax.vmap(lambda weight, inputs: flow_of(toy(weight, inputs), sum_of_last_state)))(
        weights, inputs
    )
    expected = (998 * np.log(weights.astype(np.float64)) + np.log([1, 2]))[:, None]
    assert (flow.log_gradient[:, 0] == -jnp.inf).all()  # because h_0 is 0
    np.testing.assert_allclose(flow.log_gradient[:, 1:], expected.repeat(999, axis=1), atol=1e-4)
    np.testing.assert_allclose(flow.gradient, 999 * np.exp(expected[:, 0]), rtol=1e-4)


@SLOW
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_a_thousand_steps_in_float32_leave_no_hole(kind):
    """Recurrent weights are scaled by 0.1 to 10, in one program."""
    system = recurrence(kind, steps=1000, batch=1)
    system = system._replace(initial_state=jax.tree.map(jnp.zeros_like, system.initial_state))
    swept = jax.jit(jax.vmap(lambda scale: flow_of(systems.scaled(system, scale), of_last_state)))
    flow = swept(jnp.geomspace(0.1, 10, 5))
    assert jnp.isfinite(flow.log_signal).all()
    assert not flow.zeros.any()
    assert jnp.isfinite(flow.log_gradient).all()
    assert flow.log_signal.min() < -300  # float32 ends at -103
    first = flow.log_gradient_of["recurrent_kernel"][:, 0]
    assert (first == -jnp.inf).all()  # multiplied with an initial state that is exactly 0
    assert jnp.isfinite(flow.log_gradient_of["recurrent_kernel"][:, 1:]).all()


@functools.cache
def vanishing():
    """A tanh net of 200 steps, and its flow; the loss of the second row is 1e-30 times that of the first."""
    system = recurrence("tanh", steps=200, batch=2, scale=0.7)
    weights = np.array([1.0, 1e-30], np.float32)
    flow = flow_of(system, lambda states: (states[-1].sum(axis=1) * weights).sum())
    return system, weights, jax.device_get(flow)


def test_rows_of_very_different_size_keep_their_own_norms():
    """The norms of each row equal those of a NumPy loop over this row alone."""
    system, weights, flow = vanishing()
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dict(system.params))
    for row, weight in enumerate(weights):
        states = [np.asarray(system.initial_state[row], np.float64)]
        for inputs in np.asarray(system.inputs[:, row]):
            states.append(reference.rnn(params, states[-1], inputs))
        delta = np.full(5, np.float64(weight))
        expected = [np.log(np.linalg.norm(delta))]
        for state in states[:0:-1]:
            delta = params["recurrent_kernel"] @ (delta * (1 - state**2))
            expected.append(np.log(np.linalg.norm(delta)))
        np.testing.assert_allclose(flow.log_signal[:, row], expected[::-1], rtol=1e-5, atol=1e-3)
    assert flow.log_signal[0, 1] < -200


def test_a_parameters_norm_hides_that_the_signal_vanishes():
    _, _, flow = vanishing()
    whole = np.log(norms(flow.gradient, 0))
    assert abs(whole - flow.log_gradient[-1]) < 1  # the last step alone makes that number
    assert flow.log_gradient[179] < whole - np.log(1e6)  # 20 steps before, almost nothing is left


@SLOW
def test_padded_rows_do_not_set_the_scale_of_the_others():
    """A padded row keeps its signal; beside it, a signal of 1e-60 still moves the parameters."""
    system = toy(jnp.array(0.1), jnp.ones((60, 2)))._replace(lengths=jnp.array([0, 60]))
    flow = flow_of(system, sum_of_last_state)
    assert (flow.log_signal[:, 0] == 0).all()
    expected = np.log10(1 / 0.9) - np.arange(59, -1, -1)
    np.testing.assert_allclose(flow.log_gradient[20:] / np.log(10), expected[20:], atol=1e-3)
    np.testing.assert_allclose(flow.log_gradient[5] / np.log(10), expected[5], atol=1e-3)


def test_a_dead_unit_is_an_exact_zero_and_a_vanishing_signal_is_not():
    inputs = jnp.ones((6, 2, 1)).at[3, 0].set(-100.0)
    system = Recurrence(lambda w, h, x: jax.nn.relu(w * h + x), jnp.array(1e-9), jnp.zeros((2, 1)), inputs)
    flow = flow_of(system, sum_of_last_state)
    assert flow.zeros.T.tolist() == [[True] * 4 + [False] * 3, [False] * 7]
    assert (flow.log_signal[:4, 0] == -jnp.inf).all()
    np.testing.assert_allclose(flow.log_signal[0, 1] / np.log(10), -54, atol=1e-4)


@SLOW
def test_a_gradient_beyond_floats_is_inf_and_its_norms_are_finite():
    system = toy(jnp.array(10.0), jnp.zeros((60, 1)), jnp.full(1, 1e-30))
    flow = flow_of(system, lambda states: states[-1].sum() * 1e30)
    assert flow.gradient == jnp.inf
    np.testing.assert_allclose(flow.log_gradient / np.log(10), 59, atol=1e-4)


@SLOW
def test_a_derivative_of_half_of_the_carry_is_a_different_one():
    """An open forget gate carries the signal through c; with c held fixed, h alone seems to forget."""
    system = recurrence("lstm", steps=50, batch=2)
    params = system.params | {"bias": system.params["bias"].at[5:10].add(6)}  # of the forget gate

    @jax.jit
    @jax.vmap
    def last_signal(through_cell):
        def step(params, state, inputs):
            fixed = jax.lax.stop_gradient(state[0])
            return system.step(params, (fixed + through_cell * (state[0] - fixed), state[1]), inputs)

        return flow_of(system._replace(step=step, params=params), of_last_state).log_signal[0].max()

    of_whole, of_half = last_signal(jnp.array([1.0, 0.0]))
    assert of_whole > -5
    assert of_half < -30


@SLOW
def test_memory_is_at_most_that_of_the_gradient_alone():
    """T = 1000, H = 64, B = 32: temporary memory of states, signal and all norms against that of ``jax.grad``."""
    inputs = jax.ShapeDtypeStruct((1000, 32, 2), jnp.float32)
    step, params, state, *_ = systems.driven(dl.RNNCell(features=64), 1, batch=32, features=2)

    def gradient(params, inputs):
        return jax.grad(lambda params: of_last_state(trajectory(Recurrence(step, params, state, inputs))))(
            params
        )

    def flow(params, inputs):
        return flow_of(Recurrence(step, params, state, inputs), of_last_state)

    theirs, ours = (
        jax.jit(function).lower(params, inputs).compile().memory_analysis().temp_size_in_bytes
        for function in (gradient, flow)
    )
    assert ours <= 0.7 * theirs  # measured: 0.60; T copies of the parameters, 17 MB, would be 0.4 more


@pytest.mark.parametrize(("steps", "rows"), [(0, 2), (3, 0)])
def test_gradients_of_no_step_and_of_no_row_are_0(steps, rows):
    system = recurrence("tanh", steps=steps, batch=rows)
    flow = measure(backward, system, of_last_state)
    assert (flow.log_signal.shape, flow.log_gradient.shape) == ((steps + 1, rows), (steps,))
    assert np.isneginf(flow.log_gradient).all()
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(flow.gradient))


def test_cotangents_of_another_float_dtype_are_taken():
    system = recurrence("tanh", steps=2)
    states = trajectory(system)
    assert backward(system, states, states.astype(jnp.bfloat16)).log_signal.dtype == jnp.float32
