"""The lecture's recurrent equations as plain NumPy loops in float64: row by row, step by step, nothing shared.

Complex numbers pass through. So the complex step gives gradients that are exact to rounding, without a backward pass:
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


def peephole_lstm(p, carry, x, mask=1):
    """The mask multiplies the h that meets the recurrent kernel, here and below."""
    c, h = carry
    i, f, o, g = np.split(x @ p["input_kernel"] + (h * mask) @ p["recurrent_kernel"] + p["bias"], 4)
    p_i, p_f, p_o = np.split(p["peephole_kernel"], 3)
    i, f = sigma(i + p_i * c), sigma(f + p_f * c)
    c = f * c + i * np.tanh(g)
    return c, sigma(o + p_o * c) * np.tanh(c)


def projected_lstm(p, carry, x, mask=1):
    c, h = carry
    i, f, o, g = np.split(x @ p["input_kernel"] + (h * mask) @ p["recurrent_kernel"] + p["bias"], 4)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, (sigma(o) * np.tanh(c)) @ p["projection_kernel"]


def gru(p, h, x, reset="before"):
    w_z, w_r, w_g = np.split(p["input_kernel"], 3, axis=1)
    u_z, u_r, u_g = np.split(p["recurrent_kernel"], 3, axis=1)
    b_z, b_r, b_g = np.split(p["bias"], 3)
    z, r = sigma(x @ w_z + h @ u_z + b_z), sigma(x @ w_r + h @ u_r + b_r)
    product = (r * h) @ u_g if reset == "before" else r * (h @ u_g + p["recurrent_bias"])
    return z * h + (1 - z) * np.tanh(x @ w_g + product + b_g)


def matrix(kernel):
    return np.diag(kernel) if kernel.ndim == 1 else kernel


def gate_input(p, index, units, x, h):
    """What enters the gate ``index`` of a cell, before the sigmoid."""
    own = slice(units * index, units * (index + 1))
    return x @ p["input_kernel"][:, own] + h @ p["recurrent_kernel"][:, own] + p["bias"][own]


def normalized(z, epsilon=1e-5):
    """Layer normalization without scale and bias."""
    centered = z - z.mean()
    return centered / np.sqrt((centered * centered).mean() + epsilon)


def normalized_gate_input(p, index, units, x, h):
    """What enters the gate ``index`` of a cell with layer normalization, before the sigmoid."""
    own = slice(units * index, units * (index + 1))
    from_input = normalized(x @ p["input_kernel"][:, own]) * p["input_scale"][own]
    from_state = normalized(h @ p["recurrent_kernel"][:, own]) * p["recurrent_scale"][own]
    return from_input + from_state + p["bias"][own]


def unroll(step, params, inputs, initial, lengths=None, reverse=False):
    """One row at a time: inputs ``[B, T, F]``, initial a tuple of ``[B, H]`` -> final carry, outputs ``[B, T, H]``.

    F and H may be several dimensions, as of images.
    """
    rows, steps = inputs.shape[:2]
    final = [np.array(part, np.result_type(inputs, *params.values(), *initial)) for part in initial]
    outputs = np.zeros((rows, steps, *initial[-1].shape[1:]), final[0].dtype)
    for row in range(rows):
        valid = range(steps if lengths is None else lengths[row])
        state = tuple(part[row] for part in final)
        for t in reversed(valid) if reverse else valid:
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
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1e-30j
            result[name][index] = function({**arguments, name: moved}).imag / 1e-30
    return result


def layer_norm_lstm(p, carry, x, mask=1):
    """The mask multiplies the h that meets the recurrent kernel, here and below."""
    c, h = carry
    i, f, o, g = (normalized_gate_input(p, index, len(h), x, h * mask) for index in range(4))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, sigma(o) * np.tanh(normalized(c) * p["cell_scale"] + p["cell_bias"])


def layer_norm_gru(p, h, x, mask=1):
    z, r = (sigma(normalized_gate_input(p, index, len(h), x, h * mask)) for index in range(2))
    return z * h + (1 - z) * np.tanh(normalized_gate_input(p, 2, len(h), x, r * h * mask))


def convolved(x, kernel):
    """``[*spatial, C] -> [*spatial, K]``: an output sees its neighbors from (F - 1) // 2 places before it on."""
    window = kernel.shape[:-2]
    around = np.pad(x, [*(((size - 1) // 2, size // 2) for size in window), (0, 0)])
    shifted = lambda tap: around[
        tuple(slice(at, at + size) for at, size in zip(tap, x.shape[:-1], strict=True))
    ]
    return sum(shifted(tap) @ kernel[tap] for tap in np.ndindex(*window))


def conv_lstm(p, carry, x, mask=1):
    c, h = carry
    z = convolved(x, p["input_kernel"]) + convolved(h * mask, p["recurrent_kernel"]) + p["bias"]
    i, f, o, g = np.split(z, 4, axis=-1)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return c, sigma(o) * np.tanh(c)


def conv_gru(p, h, x, mask=1):
    w_z, w_r, w_g = np.split(p["input_kernel"], 3, axis=-1)
    u_z, u_r, u_g = np.split(p["recurrent_kernel"], 3, axis=-1)
    b_z, b_r, b_g = np.split(p["bias"], 3)
    z = sigma(convolved(x, w_z) + convolved(h * mask, u_z) + b_z)
    r = sigma(convolved(x, w_r) + convolved(h * mask, u_r) + b_r)
    return z * h + (1 - z) * np.tanh(convolved(x, w_g) + convolved(r * h * mask, u_g) + b_g)
