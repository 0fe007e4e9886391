"""The reverse scan against autodiff of plain loops, the complex step, closed forms, and what other tools fall for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import backward, backward_signal
from dlcore.gradflow.measures.recurrence import Recurrence, trajectory
from tests.helpers import reference
from tests.helpers.recurrences import (
    CASES,
    LENGTHS,
    at_the_end,
    everywhere,
    measure,
    norm,
    of_cell,
    recurrence,
    stacked,
    unrolled,
)

BOUNDS = {"float32": 2e-5, "float64": 1e-12}


def flow_of(system, loss=everywhere):
    return measure(backward, system, loss)


def in_numpy(trees):
    """Their leaves, one upon the other."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))


def norms(tree, axes):
    """Of what lies behind the first axes."""
    squares = [
        (leaf**2).sum(axis=tuple(range(axes, leaf.ndim))) for leaf in map(np.asarray, jax.tree.leaves(tree))
    ]
    return np.sqrt(sum(squares))


def close(ours, theirs, bound):
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=bound * max(1, float(abs(other).max())), rtol=0)


@pytest.mark.parametrize(("kind", "lengths"), CASES)
def test_signal_and_shares_are_those_of_a_plain_loop(kind, lengths):
    """delta_t as the derivative of what is added to s_t; g_k by giving every step parameters of its own."""
    with jax.enable_x64(True):
        system = recurrence(kind, "float64", lengths=lengths)
        flow = flow_of(system)

        @jax.jit
        @functools.partial(jax.grad, argnums=(0, 1))
        def of_copies(copies, taps):
            return everywhere(stacked(unrolled(system, copies.__getitem__, system.initial_state, 0, taps)))

        nothing = jax.tree.map(np.zeros_like, system.initial_state)
        shares, deltas = map(in_numpy, of_copies([system.params] * 6, [nothing] * 7))
        close(np.exp(flow.log_signal), norms(deltas, 2), 1e-12)
        of_scaled = lambda *given: wide_range.to_floats(backward_signal(*given))
        close(measure(of_scaled, system, everywhere), deltas, 1e-12)
        close(np.exp(flow.log_gradient), norms(shares, 1), 1e-12)
        close(flow.gradient, jax.tree.map(lambda leaf: leaf.sum(axis=0), shares), 1e-12)
        for path, leaf in jax.tree_util.tree_leaves_with_path(shares):
            log = flow.log_gradient_of[jax.tree_util.keystr(path, simple=True, separator="/")]
            close(np.exp(log), norms(leaf, 1), 1e-12)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(("kind", "lengths"), CASES)
def test_gradient_is_that_of_jax(kind, dtype, lengths):
    with jax.enable_x64(dtype == "float64"):
        system = recurrence(kind, dtype, lengths=lengths)
        whole = lambda params: everywhere(trajectory(system._replace(params=params)))
        ours, expected = jax.jit(
            lambda params: (flow_of(system._replace(params=params)).gradient, jax.grad(whole)(params))
        )(system.params)
        close(ours, jax.device_get(expected), BOUNDS[dtype])


def test_signal_is_that_of_autodiff_restarted_from_each_state():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        flow = flow_of(system)

        @jax.jit
        def restarted(states):
            def loss(state, t):
                after = unrolled(system, lambda t: system.params, state, t)
                return everywhere(stacked([*states[:t], *after]))

            return [jax.grad(loss)(state, t) for t, state in enumerate(states)]

        states = jax.jit(lambda: unrolled(system, lambda t: system.params, system.initial_state))()
        close(np.exp(flow.log_signal), norms(in_numpy(restarted(states)), 2), 1e-12)


def test_gradient_against_the_complex_step():
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", lengths=LENGTHS)
        inputs, state = np.asarray(system.inputs).swapaxes(0, 1), (np.asarray(system.initial_state),)

        def loss(params):
            final, _ = reference.unroll(reference.gru, params, inputs, state, LENGTHS)
            return (final[0] ** 2).sum()

        expected = reference.gradients(loss, jax.tree.map(np.asarray, dict(system.params)))
        ours = flow_of(system, at_the_end).gradient
        close(ours, {name: expected[name] for name in ours}, 1e-12)


@pytest.mark.parametrize("steps", [1000, 10000])
@pytest.mark.parametrize("weight", [1.01, 0.99, 0.01, 1e-3, 1e3])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_lectures_toy_example(dtype, weight, steps):
    """``dy_T / dh_1 = w^(T-1)``; float32 numbers of this size themselves lie up to 8e-3 apart."""
    with jax.enable_x64(dtype == "float64"):
        weight = jnp.array(weight, dtype)
        inputs = jnp.zeros((steps, 1), dtype).at[0].set(1)
        system = Recurrence(lambda w, h, x: w * h + x, weight, jnp.zeros(1, dtype), inputs)
        flow = flow_of(system, lambda states: states[-1].sum())
        natural = (steps - 1) * np.log(np.float64(weight))
        bound = 1e-3 if dtype == "float32" else 1e-9
        spacing = np.spacing(np.asarray(abs(natural), dtype)).astype(np.float64)
        assert abs(float(flow.log_signal[1, 0]) - natural) <= max(spacing, bound * np.log(10))
        assert steps > 1000 or abs(float(flow.log_signal[1, 0]) - natural) / np.log(10) < bound


@pytest.mark.parametrize("weight", [0.99, 1.01])
def test_toy_examples_shares(weight):
    """``h_k = w^(k-1)``, so that every ``g_k = h_{k-1} w^(T-k)`` is w^(T-2), and their sum (T-1) w^(T-2)."""
    inputs = jnp.zeros((1000, 1)).at[0].set(1)
    system = Recurrence(lambda w, h, x: w * h + x, jnp.array(weight), jnp.zeros(1), inputs)
    flow = flow_of(system, lambda states: states[-1].sum())
    expected = 998 * np.log(np.float64(np.float32(weight)))
    assert flow.log_gradient[0] == -jnp.inf  # as h_0 is 0
    np.testing.assert_allclose(flow.log_gradient[1:], expected, atol=1e-4)
    np.testing.assert_allclose(flow.gradient, 999 * np.exp(expected), rtol=1e-4)


@functools.cache
def swept(kind):
    """1000 steps in float32 at scales of the recurrent weights from 0.1 to 10, compiled once."""
    cell = {"tanh": dl.RNNCell, "gru": dl.GRUCell, "lstm": dl.LSTMCell}[kind](features=16)
    inputs = jax.random.normal(jax.random.key(0), (1000, 2, 3))
    step, params, state = of_cell(cell, inputs[0], jax.random.key(1))

    def flow(scale):
        scaled = params | {"recurrent_kernel": scale * params["recurrent_kernel"]}
        return flow_of(Recurrence(step, scaled, state, inputs), at_the_end)

    return jax.jit(jax.vmap(flow))(jnp.geomspace(0.1, 10, 9))


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_thousand_steps_in_float32_leave_no_hole(kind):
    flow = swept(kind)
    assert jnp.isfinite(flow.log_signal).all()
    assert not flow.zeros.any()
    assert jnp.isfinite(flow.log_gradient).all()
    assert flow.log_signal.min() < -300  # float32 ends at -103
    first = flow.log_gradient_of["recurrent_kernel"][:, 0]
    assert (first == -jnp.inf).all()  # multiplied with an initial state that is exactly 0
    assert jnp.isfinite(flow.log_gradient_of["recurrent_kernel"][:, 1:]).all()


def test_rows_of_very_different_size_keep_their_own_norms():
    """One row's loss is 1e-30 of the other's, and its signal vanishes as it does alone."""
    system = recurrence("tanh", steps=200, batch=2, scale=0.4)
    weights = jnp.array([1.0, 1e-30])
    together = flow_of(system, lambda states: (states[-1].sum(axis=1) * weights).sum())
    for row in range(2):
        alone = system._replace(
            inputs=system.inputs[:, row, None], initial_state=system.initial_state[row, None]
        )
        own = flow_of(alone, lambda states, row=row: states[-1].sum() * weights[row])
        np.testing.assert_allclose(together.log_signal[:, row], own.log_signal[:, 0], rtol=1e-5, atol=1e-4)
        assert own.log_gradient[0] < -110
    assert together.log_signal[0, 1] < -200


def test_padded_rows_do_not_set_the_scale_of_the_others():
    """A row that has ended keeps its signal; beside it, one of 1e-60 still moves the parameters."""

    def step(weight, state, inputs):
        return weight * state + inputs

    inputs = jnp.ones((60, 2))
    system = Recurrence(step, jnp.array(0.1), jnp.zeros(2), inputs, jnp.array([0, 60]))
    flow = flow_of(system, lambda states: states[-1].sum())
    assert (flow.log_signal[:, 0] == 0).all()
    expected = np.log10(1 / 0.9) - np.arange(59, -1, -1)
    np.testing.assert_allclose(flow.log_gradient[20:] / np.log(10), expected[20:], atol=1e-3)
    np.testing.assert_allclose(flow.log_gradient[5] / np.log(10), expected[5], atol=1e-3)


def test_dead_units_are_told_from_vanishing():
    inputs = jnp.ones((6, 2, 1)).at[3, 0].set(-100.0)
    system = Recurrence(lambda w, h, x: jax.nn.relu(w * h + x), jnp.array(1e-9), jnp.zeros((2, 1)), inputs)
    flow = flow_of(system, lambda states: states[-1].sum())
    assert flow.zeros.T.tolist() == [[True] * 4 + [False] * 3, [False] * 7]
    assert (flow.log_signal[:4, 0] == -jnp.inf).all()
    np.testing.assert_allclose(flow.log_signal[0, 1] / np.log(10), -54, atol=1e-4)


def test_overflow_of_the_gradient_is_inf_and_its_norms_are_finite():
    system = Recurrence(lambda w, h, x: w * h + x, jnp.array(10.0), jnp.full(1, 1e-30), jnp.zeros((60, 1)))
    flow = flow_of(system, lambda states: states[-1].sum() * 1e30)
    assert flow.gradient == jnp.inf
    np.testing.assert_allclose(flow.log_gradient / np.log(10), 59, atol=1e-4)


def test_a_parameters_norm_hides_that_the_signal_vanishes():
    system = recurrence("tanh", steps=30, scale=0.3)
    flow = flow_of(system, at_the_end)
    whole = jnp.log(norm(flow.gradient))
    assert abs(whole - flow.log_gradient[-1]) < 1  # the last step alone makes that number
    assert flow.log_gradient[9] < whole - np.log(1e6)  # 20 steps before, there is next to nothing


def test_half_of_the_carry_is_another_derivative():
    """An open forget gate carries the signal through c; with c held fixed, h alone seems to forget."""
    cell = dl.LSTMCell(features=8, forget_bias=6.0)
    inputs = jax.random.normal(jax.random.key(0), (50, 2, 3))
    whole, params, state = of_cell(cell, inputs[0], jax.random.key(1))

    def half(params, state, inputs):
        return whole(params, (jax.lax.stop_gradient(state[0]), state[1]), inputs)

    logs = [
        flow_of(Recurrence(step, params, state, inputs), at_the_end).log_signal[0].max()
        for step in (whole, half)
    ]
    assert logs[0] > -5
    assert logs[1] < -30


def test_memory_is_at_most_that_of_the_gradient_alone():
    """T = 1000, H = 64, B = 32: temporary memory of states, signal and all norms against that of ``jax.grad``."""
    inputs = jax.ShapeDtypeStruct((1000, 32, 2), jnp.float32)
    cell = dl.RNNCell(features=64)
    step, params, state = of_cell(cell, jnp.zeros((32, 2)), jax.random.key(0))

    def gradient(params, inputs):
        return jax.grad(lambda params: at_the_end(trajectory(Recurrence(step, params, state, inputs))))(
            params
        )

    def flow(params, inputs):
        return flow_of(Recurrence(step, params, state, inputs), at_the_end)

    theirs, ours = (
        jax.jit(function).lower(params, inputs).compile().memory_analysis().temp_size_in_bytes
        for function in (gradient, flow)
    )
    assert ours <= 0.7 * theirs  # measured: 0.60; T copies of the parameters, 17 MB, would be 0.4 more


def test_is_a_function_that_jit_and_vmap_take():
    systems = [recurrence("lstm", seed=seed, lengths=LENGTHS) for seed in range(2)]

    def flow(params, inputs):
        return flow_of(systems[0]._replace(params=params, inputs=inputs))

    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(system.params for system in systems))
    inputs = jnp.stack([system.inputs for system in systems])
    both = jax.jit(jax.vmap(flow))(params, inputs)
    one = flow(systems[1].params, systems[1].inputs)
    close(jax.tree.map(lambda leaf: leaf[1], both).gradient, one.gradient, 2e-5)
    close(both.log_signal[1], one.log_signal, 2e-5)
