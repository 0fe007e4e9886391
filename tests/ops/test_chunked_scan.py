"""Windows and chunks of a scan, against a loop in NumPy for values and for truncated gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dlcore.ops.chunked_scan import Loop, chunked_scan

ROWS, STEPS, DECAY = 2, 7, 0.8
random = np.random.default_rng(0)
INPUTS, WEIGHTS = random.normal(size=(2, ROWS, STEPS)).astype(np.float32)
INITIAL = random.normal(size=ROWS).astype(np.float32)

LOOPS = {
    "whole": Loop(),
    "reverse": Loop(reverse=True),
    "chunks with a rest": Loop(time_chunk=3),
    "even chunks, reverse": Loop(time_chunk=7, reverse=True),
    "chunks with a rest, reverse": Loop(time_chunk=2, reverse=True),
    "a chunk longer than the sequence": Loop(time_chunk=9),
    "truncated": Loop(truncate=2),
    "truncated, reverse": Loop(truncate=3, reverse=True),
    "truncated in chunks": Loop(time_chunk=2, truncate=4),
    "truncated after the sequence": Loop(truncate=9),
}


def window(loop, decay, carry, inputs, start):
    """``h_t = decay h_{t-1} + x_t`` over one window; the outputs are h_t and t."""

    def step(hidden, now):
        x, t = now
        hidden = decay * hidden + x
        return hidden, (hidden, jnp.full_like(x, t, dtype=int))

    times = start + jnp.arange(inputs.shape[1])
    carry, outputs = lax.scan(step, carry, (inputs.T, times), reverse=loop.reverse)
    return carry, jax.tree.map(jnp.transpose, outputs)


def run(loop, decay, initial, inputs):
    return chunked_scan(functools.partial(window, loop, decay), initial, inputs, loop)


def by_loop(loop):
    """States, final carry, and the gradients of ``sum w_t h_t + h_last`` by decay, initial state and inputs."""
    order = range(STEPS)[::-1] if loop.reverse else range(STEPS)
    carry, states = INITIAL.astype(float), np.zeros((ROWS, STEPS))
    before = {}
    for t in order:
        before[t] = carry
        carry = states[:, t] = DECAY * carry + INPUTS[:, t]
    to_decay, to_inputs, arriving = 0.0, np.zeros((ROWS, STEPS)), np.ones(ROWS)
    later = None
    for t in reversed(order):
        if loop.truncate and later is not None and later // loop.truncate != t // loop.truncate:
            arriving = np.zeros(ROWS)  # the way back ends between two windows
        arriving = arriving + WEIGHTS[:, t]
        to_inputs[:, t] = arriving
        to_decay += (arriving * before[t]).sum()
        arriving, later = DECAY * arriving, t
    return states, carry, (to_decay, arriving, to_inputs)


@pytest.mark.parametrize("name", LOOPS)
def test_values_times_and_gradients_equal_a_loop(name):
    loop = LOOPS[name]

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def differentiated(decay, initial, inputs):
        carry, (states, times) = run(loop, decay, initial, inputs)
        return (WEIGHTS * states).sum() + carry.sum(), (carry, states, times)

    gradients, (carry, states, times) = differentiated(DECAY, INITIAL, INPUTS)
    expected_states, expected_carry, expected_gradients = by_loop(loop)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(states, expected_states)
    close(carry, expected_carry)
    np.testing.assert_array_equal(times, np.tile(np.arange(STEPS), (ROWS, 1)))
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        close(gradient, expected)


def test_forward_mode_goes_through_chunks():
    """The scan is linear in its inputs, so the tangent is the scan of the tangents."""
    loop, tangents = LOOPS["chunks with a rest"], WEIGHTS

    @jax.jit
    def tangent():
        outputs = lambda inputs: run(loop, DECAY, INITIAL, inputs)[1][0]
        return jax.jvp(outputs, (INPUTS,), (tangents,))[1], run(loop, DECAY, 0 * INITIAL, tangents)[1][0]

    np.testing.assert_allclose(*tangent(), rtol=1e-5, atol=1e-6)


def test_chunks_keep_fewer_states_for_the_gradient():
    def temporary_bytes(loop):
        def many_states(carry, inputs, start):
            step = lambda hidden, x: (jnp.tanh(jnp.sin(hidden) + x), hidden)
            carry, outputs = lax.scan(step, carry, jnp.swapaxes(inputs, 0, 1))
            return carry, jnp.swapaxes(outputs, 0, 1)

        loss = lambda inputs: chunked_scan(many_states, jnp.zeros((4, 64)), inputs, loop)[0].sum()
        shape = jax.ShapeDtypeStruct((4, 256, 64), jnp.float32)
        return jax.jit(jax.grad(loss)).lower(shape).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(Loop(time_chunk=16)) < 0.7 * temporary_bytes(Loop())
