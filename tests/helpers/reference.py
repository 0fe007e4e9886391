"""The lecture's recurrent equations as plain NumPy loops in float64: row by row, step by step, nothing shared.

Complex numbers pass through, so that gradients are exact to rounding by the complex step, without a backward pass:
``df/dx = Im f(x + ih) / h`` for any tiny h.
"""

import numpy as np


def sigma(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.where(z.real > 0, z, 0)


def rnn(p, h, x, activation=np.tanh):
    return activation(x @ p["input_kernel"] + h @ matrix(p["recurrent_kernel"]) + p["bias"])


def residual(p, h, x):
    feedback = h @ p["recurrent_kernel"] if "recurrent_kernel" in p else 0
    return h + np.tanh(x @ p["input_kernel"] + feedback + p["bias"])


def lstm(p, carry, x):
    c, h = carry
    i, f, o, g = np.split(x @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"], 4)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, sigma(o) * np.tanh(c)


def gru(p, h, x, reset="before"):
    w_z, w_r, w_g = np.split(p["input_kernel"], 3, axis=1)
    u_z, u_r, u_g = np.split(p["recurrent_kernel"], 3, axis=1)
    b_z, b_r, b_g = np.split(p["bias"], 3)
    z, r = sigma(x @ w_z + h @ u_z + b_z), sigma(x @ w_r + h @ u_r + b_r)
    fed_back = (r * h) @ u_g if reset == "before" else r * (h @ u_g + p["recurrent_bias"])
    return z * h + (1 - z) * np.tanh(x @ w_g + fed_back + b_g)


def matrix(kernel):
    return np.diag(kernel) if kernel.ndim == 1 else kernel


def unroll(step, params, inputs, initial, lengths=None, reverse=False):
    """One row at a time: inputs ``[B, T, F]``, initial a tuple of ``[B, H]`` -> final carry, outputs ``[B, T, H]``."""
    rows, steps = inputs.shape[:2]
    final = [np.array(part, np.result_type(inputs, *params.values(), *initial)) for part in initial]
    outputs = np.zeros((rows, steps, initial[-1].shape[-1]), final[0].dtype)
    for row in range(rows):
        own = range(steps if lengths is None else lengths[row])
        state = tuple(part[row] for part in final)
        for t in reversed(own) if reverse else own:
            state = step(params, state if len(state) > 1 else state[0], inputs[row, t])
            state = state if isinstance(state, tuple) else (state,)
            outputs[row, t] = state[-1]
        for part, value in zip(final, state, strict=True):
            part[row] = value
    return tuple(final), outputs


def gradients(function, arguments):
    """d function / d arguments by the complex step: a dict of arrays -> the same with the gradients."""
    result = {}
    for name, value in arguments.items():
        result[name] = np.zeros(value.shape)
        for place in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[place] += 1e-30j
            result[name][place] = function({**arguments, name: moved}).imag / 1e-30
    return result
