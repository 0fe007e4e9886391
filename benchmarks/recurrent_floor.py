"""The lower limit of a recurrent layer's time: its matrix products alone, in the same kind of loops."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.recurrent_peers import (
    BY_ROW,
    EVERYWHERE,
    GATES,
    Problem,
    Step,
    device_mesh,
    directions,
    place,
)
from dlcore.ops.recurrence import times


def floor(problem: Problem) -> Step:
    """Computes ``x_t W + h U`` in a loop, ``dz_t U^T`` in another, then dW, dU and dx, and stores nothing else."""
    gates, hidden, mesh = GATES[problem.family], problem.features, device_mesh(problem)
    rows, steps, width = problem.inputs.shape

    def products(kernels: Any, inputs: jax.Array, states: jax.Array, gate_gradients: jax.Array) -> Any:
        kernel, recurrent = kernels
        transposed = recurrent.T

        def forward(h: jax.Array, x: jax.Array) -> Any:
            z = times(x, kernel) + h @ recurrent
            return functools.reduce(jnp.maximum, jnp.split(z, gates, -1)), None

        def backward(dz: jax.Array, _: None) -> Any:
            return jnp.tile(dz @ transposed, (1, gates)), None

        last, _ = jax.lax.scan(forward, states[: inputs.shape[1]], inputs)
        first, _ = jax.lax.scan(backward, gate_gradients[: inputs.shape[1]], None, length=steps)
        flat = inputs.reshape(-1, width)
        return last, first, flat.T @ gate_gradients, states.T @ gate_gradients, gate_gradients @ kernel.T

    def step(kernels: Any, *data: jax.Array) -> Any:
        return [products(each, *data) for each in kernels]

    random = np.random.default_rng(2)
    normal = lambda *shape: np.asarray(0.1 * random.normal(size=shape) / shape[0] ** 0.5, np.float32)
    kernels = [(normal(width, gates * hidden), normal(hidden, gates * hidden)) for _ in directions(problem)]
    # The sharding is explicit, each device with its own rows: by default XLA has every device multiply all rows.
    by_batch = jax.P(None, "batch")
    shardings: Any = {"in_specs": (EVERYWHERE, by_batch, BY_ROW, BY_ROW), "out_specs": BY_ROW}
    compiled = jax.jit(jax.shard_map(step, mesh=mesh, **shardings, check_vma=False))
    kernels, states, gate_gradients = place(
        problem, kernels, normal(rows * steps, hidden), normal(rows * steps, gates * hidden)
    )
    inputs = jax.device_put(np.swapaxes(problem.inputs, 0, 1), jax.NamedSharding(mesh, by_batch))
    return lambda: jax.block_until_ready(compiled(kernels, inputs, states, gate_gradients))
