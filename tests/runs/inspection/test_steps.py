"""Compiled steps: what is read from an executable, and what is said of one that does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from dlcore.runs.inspection.steps import compile_step
from dlcore.training.program import compile_program
from dlcore.training.targets.target import Target

MACHINE = Target("", tuple(jax.devices()), 2**20, "a test")
ROWS, BESIDE = 8, 1000


def program():
    matrix = jax.ShapeDtypeStruct((ROWS, 64), jnp.float32)
    return compile_program(jax.jit(lambda matrix: matrix @ matrix.T), matrix)


def compile_it(make=program, target=MACHINE, steps=1):
    return compile_step(make, target, "training", ROWS, BESIDE, steps)


def test_a_step_needs_its_program_and_what_is_beside_it():
    step = compile_it()
    found = program().call.memory_analysis()
    assert step.memory.arguments == found.argument_size_in_bytes == ROWS * 64 * 4
    assert step.memory.temporaries == found.temp_size_in_bytes
    assert step.needed == step.memory.total + BESIDE
    assert (step.name, step.rows, step.fits, step.collectives) == ("training", ROWS, True, ())
    assert step.flops == pytest.approx(2 * ROWS * ROWS * 64)
    assert compile_it(steps=4).flops == step.flops / 4


@pytest.mark.parametrize(("memory", "fits"), [(0, True), (-1, False)])
def test_a_step_fits_up_to_the_last_byte(memory, fits):
    target = dataclasses.replace(MACHINE, memory=compile_it().needed + memory)
    assert compile_it(target=target).fits is fits


def test_a_machine_that_tells_no_memory_has_enough():
    assert compile_it(target=dataclasses.replace(MACHINE, memory=None)).fits


@pytest.mark.parametrize(
    ("message", "needed"),
    [("Used 2.00K of 1.00K hbm.", 2048 + BESIDE), ("Out of memory while trying to allocate.", None)],
)
def test_a_step_that_the_compiler_refuses_does_not_fit(message, needed):
    def refuse():
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {message}")

    step = compile_it(refuse)
    assert (step.fits, step.needed, step.memory, step.compile_seconds) == (False, needed, None, None)


def test_any_other_error_of_the_compiler_is_raised():
    def fail():
        raise jax.errors.JaxRuntimeError("INTERNAL: no")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        compile_it(fail)


class Described(Target):
    described = True


@pytest.mark.parametrize(("kind", "stored"), [(Target, False), (Described, True)])
def test_programs_of_described_devices_are_not_stored(kind, stored):
    """JAX stores what takes longer to compile than this many seconds."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before, during = getattr(jax.config, name), []
    compile_it(
        lambda: during.append(getattr(jax.config, name)) or program(), kind("", MACHINE.devices, 1, "")
    )
    assert (during[0] > 10**6) is stored
    assert getattr(jax.config, name) == before
