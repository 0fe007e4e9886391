"""The memory of compiled programs, and what compilers say of programs that do not fit."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from dlcore.training.telemetry.memory import Memory, OutOfMemory, memory_of, read_refusal

GIB = 2**30


def test_the_total_counts_donated_arguments_once():
    assert Memory(arguments=10, outputs=8, aliased=7, temporaries=5, code=3).total == 19


def test_a_program_takes_its_arguments_and_what_it_returns():
    """A donated argument and the result in its place: 4 KiB; the other argument: 8 KiB."""
    step = jax.jit(lambda state, batch: state + batch.sum(axis=0), donate_argnums=0)
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1024,), (2, 1024))]
    memory = memory_of(step.lower(*shapes).compile())
    assert memory.arguments == 4096 + 8192
    assert memory.outputs == memory.aliased == 4096
    assert memory.total == 4096 + 8192 + memory.temporaries + memory.code


def test_a_platform_that_tells_no_memory_gives_none():
    assert memory_of(SimpleNamespace(memory_analysis=lambda: None)) is None


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (35.42G) "
            "exceeds available HBM (15.75G).",
            OutOfMemory(round(35.42 * GIB), round(15.75 * GIB)),
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 512.5M of 256.00M hbm. "
            "Exceeded hbm capacity by 256.5M.",
            OutOfMemory(round(512.5 * 2**20), 256 * 2**20),
        ),
        (
            "RESOURCE_EXHAUSTED: Used 2.50T of 95.74G hbm.",
            OutOfMemory(round(2.5 * 2**40), round(95.74 * GIB)),
        ),
        ("RESOURCE_EXHAUSTED: Used 1024 of 512 hbm.", OutOfMemory(1024, 512)),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.", OutOfMemory(None, None)),
        ("INVALID_ARGUMENT: Used 20.00G of 15.75G hbm.", None),
        ("", None),
    ],
)
def test_a_refusal_is_read_with_its_numbers(message, found):
    assert read_refusal(RuntimeError(message)) == found
