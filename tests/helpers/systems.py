"""Recurrences whose Jacobian products and Lyapunov exponents are known, or come from plain loops over matrices."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures.recurrence import Recurrence, trajectory
from tests.helpers.recurrences import compiled, of_cell


def linear(matrix, steps):
    """``s_t = W s_{t-1}``, so that J = W."""
    matrix = jnp.asarray(matrix)
    state = jnp.zeros((1, len(matrix)), matrix.dtype)  # J is the same at every state, and 0 does not overflow
    return Recurrence(lambda w, s, x: s @ w.T, matrix, state, jnp.zeros((steps, 1, 0)))


def switched(matrices, steps):
    """``s_t = W_{t mod period} s_{t-1}``; the input is the index of the matrix."""
    matrices = jnp.asarray(matrices)
    state = jnp.zeros((1, matrices.shape[1]), matrices.dtype)
    inputs = (jnp.arange(steps) % len(matrices))[:, None]
    return Recurrence(lambda w, s, x: jnp.einsum("bij,bj->bi", w[x], s), matrices, state, inputs)


def driven(cell, steps, batch=1, scale=1.0, dtype="float32", features=3, key=0):
    """A cell with random inputs, whose recurrent kernel is multiplied by ``scale``."""

    def make():
        inputs_key, params_key = jax.random.split(jax.random.key(key))
        inputs = jax.random.normal(inputs_key, (steps, batch, features), dtype)
        step, params, state = of_cell(cell, inputs[0], params_key)
        params = {**params, "recurrent_kernel": scale * params["recurrent_kernel"]}
        params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, state))
        return Recurrence(step, params, state, inputs)

    return compiled(make)


def scaled(system, scale):
    """The same recurrence with its recurrent kernel multiplied by ``scale``, which may be traced."""
    kernel = scale * system.params["recurrent_kernel"]
    return system._replace(params={**system.params, "recurrent_kernel": kernel})


def autonomous(gain, size=32, steps=400, key=0):
    """``h_t = tanh(g W h_{t-1})`` with random Gaussian W: chaotic for g > 1 (Sompolinsky et al. 1988)."""

    def make():
        kernel_key, state_key = jax.random.split(jax.random.key(key))
        kernel = gain * jax.random.normal(kernel_key, (size, size)) / size**0.5
        step = lambda w, h, x: jnp.tanh(h @ w)
        return Recurrence(step, kernel, jax.random.normal(state_key, (1, size)), jnp.zeros((steps, 1, 0)))

    return compiled(make)


def min_gru(steps, rates, batch=2):
    """A minGRU, and all its ``log(1 - z_t)``; its gate sees the input alone, so that ``J = diag(1 - z_t)``."""
    size = len(rates)
    inputs = np.random.default_rng(2).normal(size=(steps, batch, size))

    def step(bias, state, inputs):
        z = jax.nn.sigmoid(bias + 0.3 * inputs)
        return (1 - z) * state + z * jnp.tanh(inputs)

    bias = jnp.asarray(rates)
    state = jnp.zeros((batch, size), bias.dtype)
    kept = 1 / (1 + np.exp(np.asarray(rates) + 0.3 * inputs))  # 1 - z
    return Recurrence(step, bias, state, jnp.asarray(inputs, bias.dtype)), np.log(kept)


def jacobian_matrices(recurrence):
    """All Jacobians ``[T, B, n, n]`` from `jax.jacrev` of each row alone; the carry's leaves are side by side."""

    def of_row(state, inputs):
        vector, unravel = jax.flatten_util.ravel_pytree(state)

        def after(vector):
            state = jax.tree.map(lambda leaf: leaf[None], unravel(vector))
            stepped = recurrence.step(recurrence.params, state, inputs[None])
            return jax.flatten_util.ravel_pytree(stepped)[0]

        return jax.jacrev(after)(vector)

    before = jax.tree.map(lambda leaf: leaf[:-1], trajectory(recurrence))
    return jax.vmap(jax.vmap(of_row))(before, recurrence.inputs)


def products(jacobians, length):
    """``d s_L / d s_{L-l}`` for l = 0 .. L, multiplied from one row's Jacobians ``[T, n, n]``."""
    result = [np.eye(jacobians.shape[1])]
    for t in reversed(range(length)):
        result.append(result[-1] @ jacobians[t])
    return result
