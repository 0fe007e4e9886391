"""Recurrences of every kind, and plain unrolled loops for their derivatives that share nothing with the reverse scan.

For float64, make and measure them within ``jax.enable_x64(True)``.
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
LENGTHS = (6, 0, 1, 4)  # for the 6 steps of `recurrence`
CASES = [*((kind, LENGTHS) for kind in KINDS), ("tanh", None), ("lstm", None)]


def recurrence(kind, dtype="float32", steps=6, batch=4, lengths=None, scale=1.0, seed=0, features=3):
    """A `Recurrence` of this kind with random inputs, state and parameters; ``scale`` multiplies all parameters.

    NumPy draws all arrays, so that nothing has to be compiled. Matrices have the standard deviation 0.4, biases 0.2 and
    the initial state 0.3.
    """
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(steps, batch, features))
    step, params, state = _parts(kind, jax.ShapeDtypeStruct(inputs.shape[1:], dtype))
    params = jax.tree.map(lambda leaf: scale * 0.2 * leaf.ndim * generator.normal(size=leaf.shape), params)
    state = jax.tree.map(lambda leaf: 0.3 * generator.normal(size=leaf.shape), state)
    params, state, inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, state, inputs))
    return Recurrence(
        step, params, state, inputs, None if lengths is None else jnp.asarray(np.array(lengths))
    )


def compiled(make):
    """Returns the `Recurrence` from ``make()``; one program makes all arrays, instead of one for each operation."""
    steps = []

    @jax.jit
    def arrays():
        made = make()
        steps.append(made.step)
        return made[1:]

    parts = arrays()
    return Recurrence(steps[0], *parts)


def of_cell(cell, inputs, key):
    """A cell's step ``(params, state, inputs) -> state``, its parameters, and its initial carry as the state."""
    state = cell.initialize_carry(key, inputs.shape)
    return step_of(cell), cell.init(key, state, inputs)["params"], state


def step_of(cell):
    return lambda params, state, inputs: cell.apply({"params": params}, state, inputs)[0]


def _parts(kind, inputs):
    """The step, and arrays with the shapes of its parameters and of its state."""
    if kind == "linear":
        params = {"input": np.empty((3, 5)), "recurrent": np.empty((5, 5))}
        return _linear, params, np.empty((inputs.shape[0], 5))
    if kind == "stack":
        return _stack(inputs)
    return _cell_shapes(CELLS[kind], inputs)


def _cell_shapes(cell, inputs):
    shapes = jax.eval_shape(
        lambda: of_cell(cell, jnp.zeros(inputs.shape, inputs.dtype), jax.random.key(0))[1:]
    )
    return step_of(cell), *shapes


def _linear(params, state, inputs):
    return state @ params["recurrent"] + inputs @ params["input"]


def _stack(inputs):
    """A GRU on an LSTM as one step."""
    lower, lower_params, lower_state = _cell_shapes(CELLS["lstm"], inputs)
    upper, upper_params, upper_state = _cell_shapes(CELLS["gru"], lower_state[1])

    def step(params, state, inputs):
        below = lower(params["lower"], state["lower"], inputs)
        return {"lower": below, "upper": upper(params["upper"], state["upper"], below[1])}

    params = {"lower": lower_params, "upper": upper_params}
    return step, params, {"lower": lower_state, "upper": upper_state}


def unrolled(recurrence, params_of, state, start=0, taps=None):
    """The states from ``start`` on by a plain loop, in which step t has the parameters ``params_of(t)``.

    ``taps`` are added to the states. The derivative by a tap is the total derivative of its state, delta_t.
    """
    states = [state if taps is None else jax.tree.map(jnp.add, state, taps[start])]
    for t in range(start, len(recurrence.inputs)):
        after = recurrence.step(params_of(t), states[-1], recurrence.inputs[t])
        if recurrence.lengths is not None:
            choose = functools.partial(_choose_rows, t < np.asarray(recurrence.lengths))
            after = jax.tree.map(choose, after, states[-1])
        states.append(after if taps is None else jax.tree.map(jnp.add, after, taps[t + 1]))
    return states


def _choose_rows(valid, new, old):
    return jnp.where(valid.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def stacked(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def of_all_states(states):
    """A loss that depends on every state, and on each in a different way."""
    leaves = jax.tree.leaves(states)
    return sum(
        (jnp.sin(leaf + jnp.arange(len(leaf)).reshape(-1, *[1] * (leaf.ndim - 1)))).sum() for leaf in leaves
    )


def of_last_state(states):
    """A loss of the last state alone."""
    return sum((leaf[-1] ** 2).sum() for leaf in jax.tree.leaves(states))


def sum_of_last_state(states):
    """The sum of the last state, whose cotangent is 1 everywhere."""
    return sum(leaf[-1].sum() for leaf in jax.tree.leaves(states))


def measure(function, system, loss, *more):
    """``function(recurrence, states, cotangents, *more)``, compiled as one program."""

    @jax.jit
    def run(*parts):
        again = Recurrence(system.step, *parts)
        states = trajectory(again)
        return function(again, states, state_cotangents(loss, states), *more)

    return run(*system[1:])


def norm(tree):
    return jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tree)))
