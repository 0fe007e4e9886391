"""Compiles a run's steps ahead, and reads from the executables what they take and exchange."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax

from dlcore.training.program import Program
from dlcore.training.targets.target import Target
from dlcore.training.telemetry.memory import Memory, memory_of, read_refusal
from dlcore.utils.hlo import Collective, read_calls, read_collectives


class Step(NamedTuple):
    """A compiled step.

    Attributes:
        name: ``training`` or ``evaluation``; or ``evaluation of dev`` if the sets have names and different shapes.
        rows: number of rows of its batch.
        steps: number of steps that one call makes, see ``train.steps_per_call``.
        beside: bytes on a device of what the program does not get, but the run keeps meanwhile: the rest of the state,
            and batches that are made ahead.
        fits: False if a device has less memory than ``needed``.
        needed: bytes of a device that the run takes meanwhile: ``memory.total + beside``. If the compiler refuses the
            program, what it says; None if it says no number.
        memory: the memory of the executable on a device; None if the compiler refuses it.
        compile_seconds: how long it took to compile; None if the compiler refuses it.
        flops: number of floating-point operations of one step on all devices.
        collectives: what the devices exchange in a call.
        calls: how often a call runs each library function, by its name.
    """

    name: str
    rows: int
    steps: int
    beside: int
    fits: bool
    needed: int | None
    memory: Memory | None = None
    compile_seconds: float | None = None
    flops: float | None = None
    collectives: tuple[Collective, ...] = ()
    calls: Mapping[str, int] = {}


def compile_step(
    make: Callable[[], Program], target: Target, name: str, rows: int, beside: int, steps: int = 1
) -> Step:
    """Compiles a step and reads its executable.

    Args:
        make: compiles the step.
        target: the machine.
        name: as in `Step`.
        rows: as in `Step`.
        beside: as in `Step`.
        steps: as in `Step`.

    Raises:
        jax.errors.JaxRuntimeError: the compiler fails for another reason than that the memory is too small.
    """
    try:
        with _no_cache() if target.described else contextlib.nullcontext():
            program = make()
    except jax.errors.JaxRuntimeError as error:
        refusal = read_refusal(error)
        if refusal is None:
            raise
        needed = None if refusal.needed is None else refusal.needed + beside
        return Step(name, rows, steps, beside, fits=False, needed=needed)
    compiled: jax.stages.Compiled = program.call  # type: ignore[assignment]
    memory, text = memory_of(compiled), compiled.as_text() or ""
    needed = None if memory is None else memory.total + beside
    return Step(
        name,
        rows,
        steps,
        beside,
        needed is None or target.memory is None or needed <= target.memory,
        needed,
        memory,
        program.compile_seconds,
        program.flops / steps,
        tuple(read_collectives(text)),
        read_calls(text),
    )


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """A context manager in which JAX stores no compiled program: those of described devices cannot be read again."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 1e9)
    try:
        yield
    finally:
        jax.config.update(name, before)
