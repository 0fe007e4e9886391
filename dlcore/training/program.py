"""A compiled program, and how one is made ahead of its first call."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from dlcore.training.telemetry.flops import count_flops


class Program(NamedTuple):
    """A program that is compiled for arguments of certain shapes, types and shardings.

    Attributes:
        call: the compiled function, a ``jax.stages.Compiled``.
        compile_seconds: how long compilation took.
        flops: number of floating-point operations in a call on all devices, see `flops.count_flops`.
    """

    call: Callable[..., Any]
    compile_seconds: float
    flops: float


def compile_program(jitted: Any, *arguments: Any) -> Program:
    """Compiles a function for arguments, of which nothing is computed.

    Args:
        jitted: what ``jax.jit`` returns.
        arguments: trees of arrays or of ``jax.ShapeDtypeStruct``.

    Raises:
        jax.errors.JaxRuntimeError: the program does not fit its devices, see `memory.read_refusal`.
    """
    began = time.monotonic()
    traced = jitted.trace(*arguments)
    compiled, flops = traced.lower().compile(), count_flops(traced)
    return Program(compiled, time.monotonic() - began, flops)
