"""The cost of measuring gradient flow through time, compared with the cost of the gradient itself.

    python -m benchmarks.gradient_flow

The loss reads the last of 1000 steps of a cell with 64 units and 32 rows. The gradient is that of ``jax.grad`` through
a ``lax.scan`` of the cell, which keeps only the last state ("last") or returns the state of every step, as a layer does
("all"). It is compared with the reverse scan of `dlcore.gradflow.backward` ("measured"), which gives the same gradient
and also the norms of every step's signal and share. The benchmark prints median milliseconds, the temporary memory of
the compiled programs, and the ratios of both, measured to gradient (below 1, measuring takes less).
"""

import functools
import json
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import dlcore as dl
from benchmarks.timing import in_turn, speedup
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory

CELLS = {"tanh": dl.RNNCell, "gru": dl.GRUCell, "lstm": dl.LSTMCell}
STEPS, ROWS, INPUTS, FEATURES = 1000, 32, 8, 64
ROUNDS = 15


def main() -> None:
    result = {}
    for name, cell in CELLS.items():
        programs = compiled(cell(FEATURES))
        seconds = in_turn({kind: call for kind, (call, _) in programs.items()}, ROUNDS)
        for kind, (_, memory) in programs.items():
            milliseconds = 1e3 * statistics.median(seconds[kind])
            print(f"{name}, {kind}: {milliseconds:.1f} ms, {memory / 2**20:.1f} MiB", flush=True)
        result[name] = {
            kind: {
                "time": round(1 / speedup(seconds, "measured", kind), 3),
                "memory": round(programs["measured"][1] / memory, 3),
            }
            for kind, (_, memory) in programs.items()
            if kind != "measured"
        }
    print("result:", json.dumps(result))


def compiled(cell: Any) -> dict[str, tuple[Callable[[], object], int]]:
    """Returns by name a call that returns when its work is done, and the bytes of temporary memory that it takes."""
    params_key, inputs_key, loss_key = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(inputs_key, (STEPS, ROWS, INPUTS))
    state = cell.initialize_carry(params_key, inputs[0].shape)
    params = cell.init(params_key, state, inputs[0])
    direction = jax.random.normal(loss_key, (ROWS, FEATURES))

    def step(params: Any, state: Any, inputs: jax.Array) -> Any:
        return cell.apply(params, state, inputs)[0]

    def loss(last: Any) -> jax.Array:
        return jnp.vdot(jax.tree.leaves(last)[-1], direction)

    def loss_of_states(states: Any) -> jax.Array:
        return loss(jax.tree.map(lambda leaf: leaf[-1], states))

    def last(params: Any, inputs: jax.Array) -> jax.Array:
        return loss(jax.lax.scan(lambda state, x: (step(params, state, x), None), state, inputs)[0])

    def every(params: Any, inputs: jax.Array) -> jax.Array:
        return loss_of_states(trajectory(Recurrence(step, params, state, inputs)))

    def measured(params: Any, inputs: jax.Array) -> Any:
        recurrence = Recurrence(step, params, state, inputs)
        states = trajectory(recurrence)
        return backward(recurrence, states, state_cotangents(loss_of_states, states))

    found: dict[str, tuple[Callable[[], object], int]] = {}
    for name, function in (("measured", measured), ("last", jax.grad(last)), ("all", jax.grad(every))):
        program = jax.jit(function).lower(params, inputs).compile()
        call = functools.partial(lambda program: jax.block_until_ready(program(params, inputs)), program)
        memory: Any = program.memory_analysis()
        found[name] = call, memory.temp_size_in_bytes
    return found


if __name__ == "__main__":
    main()
