"""A small sweep on plain numbers, and a count of compilations."""

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.sweep import execute
from dlcore.sweep.plan import Group, SharedInputs, Sweep

SETTINGS, MEASURES = ("kind", "seed", "scale", "bias"), ("value", "count")


def measure(seed, numbers):
    value = seed * numbers["scale"] + numbers.get("bias", 0.5)
    return {"value": value, "count": jnp.int32(numbers["scale"] > 1)}


def group(kind="a", scales=(0.5, 1.0, 2.0), seeds=(3, 4), biases=(), bytes_each=8):
    """A group of all scales, seeds and biases, with a measure of its own: no other group shares its program."""
    numbers = [{"scale": scale, "bias": bias} for bias in biases for scale in scales]
    numbers = numbers or [{"scale": scale} for scale in scales]
    shared = [SharedInputs({"seed": seed}, np.float32(seed)) for seed in seeds]
    return Group(lambda seed, numbers: measure(seed, numbers), {"kind": kind}, shared, numbers, bytes_each)


def run(path, *groups, memory=None):
    return execute.run(Sweep(groups, SETTINGS, MEASURES), path, memory)


def compilations(function):
    """How many programs the call compiles, and what it returns."""
    seen = []

    def listen(event, seconds, **_):
        seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        returned = function()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return seen.count("/jax/core/compile/backend_compile_duration"), returned
