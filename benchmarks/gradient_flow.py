"""What it costs to measure a gradient's way through time, beside what the gradient itself costs.

    python -m benchmarks.gradient_flow

Of a loss on the last of 1000 steps, cells of 64 units and 32 rows: ``jax.grad`` through a ``lax.scan`` of the cell,
of which only the last state is kept ("last") or that of every step returned, as a layer does ("all"), against the
reverse scan of `dlcore.gradflow.backward`, which gives the same gradient and the norms of every step's signal and
share. Printed are medians in milliseconds, temporary memory of the compiled programs, and of both the ratios by which
measuring takes more, below 1 less, than each gradient.
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
    """By name: a call that returns when its work is done, and the bytes of temporary memory that it takes."""
    of_params, of_inputs, of_loss = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(of_inputs, (STEPS, ROWS, INPUTS))
    state = cell.initialize_carry(of_params, inputs[0].shape)
    params = cell.init(of_params, state, inputs[0])
    toward = jax.random.normal(of_loss, (ROWS, FEATURES))

    def step(params: Any, state: Any, inputs: jax.Array) -> Any:
        return cell.apply(params, state, inputs)[0]

    def loss(last: Any) -> jax.Array:
        return jnp.vdot(jax.tree.leaves(last)[-1], toward)

    def of_states(states: Any) -> jax.Array:
        return loss(jax.tree.map(lambda leaf: leaf[-1], states))

    def last(params: Any, inputs: jax.Array) -> jax.Array:
        return loss(jax.lax.scan(lambda state, now: (step(params, state, now), None), state, inputs)[0])

    def every(params: Any, inputs: jax.Array) -> jax.Array:
        return of_states(trajectory(Recurrence(step, params, state, inputs)))

    def measured(params: Any, inputs: jax.Array) -> Any:
        recurrence = Recurrence(step, params, state, inputs)
        states = trajectory(recurrence)
        return backward(recurrence, states, state_cotangents(of_states, states))

    found: dict[str, tuple[Callable[[], object], int]] = {}
    for name, function in (("measured", measured), ("last", jax.grad(last)), ("all", jax.grad(every))):
        program = jax.jit(function).lower(params, inputs).compile()
        call = functools.partial(lambda program: jax.block_until_ready(program(params, inputs)), program)
        memory: Any = program.memory_analysis()
        found[name] = call, memory.temp_size_in_bytes
    return found


if __name__ == "__main__":
    main()
