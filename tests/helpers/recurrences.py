"""Recurrences of every kind, and their derivatives from plain unrolled loops that share nothing with the reverse scan.

To be made and measured within ``jax.enable_x64(True)`` where float64 is meant.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory

CELLS = {
    "tanh": dl.RNNCell(features=5),
    "irnn": dl.IdentityRNNCell(features=5, kernel_init=jax.nn.initializers.normal(0.5)),
    "residual": dl.ResidualRNNCell(features=5, feedback=True),
    "gru": dl.GRUCell(features=5),
    "lstm": dl.LSTMCell(features=5),
}
KINDS = ("linear", *CELLS, "stack")
LENGTHS = (6, 0, 1, 4)  # with the 6 steps that `recurrence` has
CASES = [*((kind, LENGTHS) for kind in KINDS), ("tanh", None), ("lstm", None)]


def recurrence(kind, dtype="float32", steps=6, batch=4, lengths=None, scale=1.0, seed=0, features=3):
    """A `Recurrence` of this kind with random parameters, all of which ``scale`` multiplies, inputs and state."""

    def make():
        keys = jax.random.split(jax.random.key(seed), 4)
        inputs = jax.random.normal(keys[0], (steps, batch, features), dtype)
        step, params, state = _parts(kind, inputs[0], keys[1])
        params = jax.tree.map(lambda leaf: scale * _moved(leaf, keys[2]).astype(dtype), params)
        state = jax.tree.map(lambda leaf: _moved(leaf, keys[3]).astype(dtype), state)
        return Recurrence(step, params, state, inputs)

    return compiled(make)._replace(lengths=None if lengths is None else jnp.asarray(np.array(lengths)))


def compiled(make):
    """The `Recurrence` that ``make()`` returns, its arrays from one program: each operation alone would be one."""
    steps = []

    @jax.jit
    def arrays():
        made = make()
        steps.append(made.step)
        return made[1:]

    params, state, inputs, lengths = arrays()
    return Recurrence(steps[0], params, state, inputs, lengths)


def of_cell(cell, inputs, key):
    """A cell's step with all its parameters as params, and its whole carry as state."""
    state = cell.initialize_carry(key, inputs.shape)
    params = cell.init(key, state, inputs)["params"]
    return lambda params, state, inputs: cell.apply({"params": params}, state, inputs)[0], params, state


def _moved(leaf, key):
    """With a little noise, so that neither biases nor the initial state are 0."""
    return leaf + 0.3 * jax.random.normal(key, leaf.shape)


def _parts(kind, inputs, key):
    if kind == "linear":
        weights = jax.random.normal(key, (8, 5)) / 8**0.5
        params = {"input": weights[:3], "recurrent": weights[3:]}
        return _linear, params, jnp.zeros((len(inputs), 5))
    if kind == "stack":
        return _stack(inputs, key)
    return of_cell(CELLS[kind], inputs, key)


def _linear(params, state, inputs):
    return state @ params["recurrent"] + inputs @ params["input"]


def _stack(inputs, key):
    """A GRU on an LSTM as one step."""
    lower, lower_params, lower_state = of_cell(CELLS["lstm"], inputs, key)
    upper, upper_params, upper_state = of_cell(CELLS["gru"], lower_state[1], key)

    def step(params, state, inputs):
        below = lower(params["lower"], state["lower"], inputs)
        return {"lower": below, "upper": upper(params["upper"], state["upper"], below[1])}

    params = {"lower": lower_params, "upper": upper_params}
    return step, params, {"lower": lower_state, "upper": upper_state}


def unrolled(recurrence, params_of, state, start=0, taps=None):
    """The states from ``start`` on by a plain loop, in which step t has the parameters ``params_of(t)``.

    What ``taps`` adds to each state has the whole derivative of that state, delta_t.
    """
    states = [state if taps is None else jax.tree.map(jnp.add, state, taps[start])]
    for t in range(start, len(recurrence.inputs)):
        after = recurrence.step(params_of(t), states[-1], recurrence.inputs[t])
        if recurrence.lengths is not None:
            keep = functools.partial(_rows, t < np.asarray(recurrence.lengths))
            after = jax.tree.map(keep, after, states[-1])
        states.append(after if taps is None else jax.tree.map(jnp.add, after, taps[t + 1]))
    return states


def _rows(own, new, old):
    return jnp.where(own.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def stacked(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def everywhere(states):
    """A loss that depends on every state, on each in another way."""
    leaves = jax.tree.leaves(states)
    return sum(
        (jnp.sin(leaf + jnp.arange(len(leaf)).reshape(-1, *[1] * (leaf.ndim - 1)))).sum() for leaf in leaves
    )


def at_the_end(states):
    """A loss of the last state alone."""
    return sum((leaf[-1] ** 2).sum() for leaf in jax.tree.leaves(states))


def measure(function, system, loss, *more):
    """``function(recurrence, states, direct, *more)``, compiled as one."""

    @jax.jit
    def run(params, state, inputs, lengths):
        again = Recurrence(system.step, params, state, inputs, lengths)
        states = trajectory(again)
        return function(again, states, state_cotangents(loss, states), *more)

    return run(*system[1:])


def norm(tree):
    return jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tree)))
