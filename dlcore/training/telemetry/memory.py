"""How much memory of a device a compiled program takes, and what a compiler says if a program takes too much."""

import re
from typing import NamedTuple

import jax

UNITS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
SIZE = r"([\d.]+[KMGTP]?)"
FORMS = (rf"Used {SIZE} of {SIZE} hbm", rf"\({SIZE}\) exceeds available HBM \({SIZE}\)")
"""How XLA's compiler for TPUs says what a program takes and what there is, after and before it places all arrays."""


class Memory(NamedTuple):
    """The bytes that a program takes on each device, as XLA's analysis of the executable counts them.

    Attributes:
        arguments: what it gets.
        outputs: what it returns.
        aliased: the part of the outputs that is in the place of donated arguments, and so takes no memory of its own.
        temporaries: what it needs while it runs.
        code: the program itself.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """``arguments + outputs - aliased + temporaries + code``."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


def memory_of(compiled: jax.stages.Compiled) -> Memory | None:
    """The `Memory` of a compiled program; None if its platform tells none."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    return Memory(
        found.argument_size_in_bytes,
        found.output_size_in_bytes,
        found.alias_size_in_bytes,
        found.temp_size_in_bytes,
        found.generated_code_size_in_bytes,
    )


class OutOfMemory(NamedTuple):
    """What a compiler said of a program that does not fit: bytes on a device, None where it gave no number.

    Attributes:
        needed: what the program takes.
        available: what a program may take.
    """

    needed: int | None
    available: int | None


def read_refusal(error: Exception) -> OutOfMemory | None:
    """The `OutOfMemory` that a compiler's error says; None if the error is another one.

    >>> read_refusal(RuntimeError("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Used 20.00G of 15.75G hbm."))
    OutOfMemory(needed=21474836480, available=16911433728)
    """
    message = str(error)
    if not message.startswith("RESOURCE_EXHAUSTED"):
        return None
    found = next(filter(None, (re.search(form, message) for form in FORMS)), None)
    return OutOfMemory(*map(_bytes, found.groups())) if found else OutOfMemory(None, None)


def _bytes(size: str) -> int:
    """The number that a text such as ``15.75G`` means."""
    return round(float(size.rstrip("KMGTP")) * 2 ** UNITS.get(size[-1], 0))
