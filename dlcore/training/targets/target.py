"""A machine that programs are compiled for: this one, or one that is only described."""

import os
from dataclasses import dataclass
from typing import Any

import jax

from dlcore.utils.text import bytes_text


@dataclass(frozen=True)
class Target:
    """The devices of a machine and their memory.

    Attributes:
        name: the machine as ``--target`` names it, such as ``v5e:2x4``; empty for this machine.
        devices: its devices. Those of a described machine can hold no array and run no program.
        memory: bytes of each device that a program may use; None if nobody tells.
        source: where this number is from, in words.
    """

    name: str
    devices: tuple[jax.Device, ...]
    memory: int | None
    source: str

    @property
    def kind(self) -> str:
        """What the devices are, such as ``TPU v5 lite``."""
        return self.devices[0].device_kind

    @property
    def described(self) -> bool:
        """True if the devices are not this process's, so that arrays and programs cannot be on them."""
        return self.devices[0].platform != "cpu" and bool(self.name)

    def __str__(self) -> str:
        """The machine in words.

        >>> print(Target("cpu:1", tuple(jax.devices("cpu")[:1]), 2**30, "a test"))
        cpu:1: 1 device, cpu, each with 1 GiB for programs (a test)
        """
        count = f"{len(self.devices)} device{'s' * (len(self.devices) > 1)}"
        memory = "unknown memory" if self.memory is None else f"{bytes_text(self.memory)} for programs"
        return f"{self.name or 'this machine'}: {count}, {self.kind}, each with {memory} ({self.source})"


def this_machine() -> Target:
    """The machine of this process, with the devices on which JAX computes."""
    devices = tuple(jax.devices())
    stats: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return Target("", devices, stats["bytes_limit"], "what JAX may allocate")
    if devices[0].platform != "cpu":
        return Target("", devices, None, "its driver tells none")
    return Target("", devices, host_memory() // jax.local_device_count(), HOST_SHARE)


HOST_SHARE = "its share of this machine's memory"


def host_memory() -> int:
    """The bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
