"""TPUs that are only described: libtpu compiles for every topology that it knows, on any machine."""

import contextlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from dlcore.training.targets.target import Target
from dlcore.training.telemetry.memory import read_refusal

TOPOLOGY = r"(v\d+\w*|tpu\w+):(\d{1,3}(?:x\d{1,3})*)"
MOST_CHIPS = 16384
ONE_DEVICE_A_CHIP = {"v4": {"chip_config_name": "megacore"}}
"""JAX joins the two cores of these chips into one device, which libtpu has to be told."""

ROWS = 1 << 21  # of a square matrix that no memory holds


def tpu_target(topology: str) -> Target:
    """The chips of a TPU topology, such as ``v5e:2x4``.

    A process that runs on a TPU keeps it: JAX finds its own devices before libtpu hears of others.

    Args:
        topology: a generation of TPUs and how many chips there are along each axis.

    Raises:
        ValueError: libtpu is not installed, or does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None and not os.path.isfile(
        os.environ.get("TPU_LIBRARY_PATH", "")
    ):
        raise ValueError(
            f"target: got {topology!r}, but libtpu, which compiles for it, is not installed; "
            "pip install 'dlcore[tpu]' brings it"
        )
    found = re.fullmatch(TOPOLOGY, topology)
    generation, sizes = (found[1], [int(size) for size in found[2].split("x")]) if found else ("", [0])
    if not 1 <= math.prod(sizes) <= MOST_CHIPS:
        raise ValueError(
            f"target: got {topology!r}, expected a TPU topology of 1 to {MOST_CHIPS} chips, as v5e:2x4"
        )
    jax.devices()
    options = ONE_DEVICE_A_CHIP.get(generation, {})
    with _environment():
        try:
            devices = _devices(topology, sizes, options)
        except jax.errors.JaxRuntimeError as error:
            why = str(error).splitlines()[0].partition(": ")[2]
            raise ValueError(
                f"target: got {topology!r}, expected a TPU topology that libtpu knows, such as v5e:2x4 ({why})"
            ) from error
        return Target(topology, devices, _memory(devices[0]), "what its compiler lets them use")


def _devices(topology: str, sizes: Sequence[int], options: dict[str, Any]) -> tuple[jax.Device, ...]:
    """The devices of several hosts with libtpu's number of chips, or else of one host with all chips."""
    describe = lambda **more: topologies.get_topology_desc(topology, "tpu", **options, **more)
    try:
        return tuple(describe().devices)
    except jax.errors.JaxRuntimeError as error:
        if "chips_per_host" not in str(error):
            raise
        return tuple(describe(chips_per_host_bounds=tuple([*sizes, 1, 1][:3])).devices)


def _memory(device: jax.Device) -> int | None:
    """The bytes that a program may use, as the compiler says when it refuses one that takes more; else None."""
    matrix = jax.ShapeDtypeStruct((ROWS, ROWS), jnp.float32, sharding=SingleDeviceSharding(device))
    try:
        jax.jit(lambda matrix: matrix @ matrix).lower(matrix).compile()
    except jax.errors.JaxRuntimeError as error:
        refusal = read_refusal(error)
        return None if refusal is None else refusal.available
    return None


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """A context manager for the variables with which libtpu neither looks for a TPU nor locks it."""
    before = os.environ.copy()
    os.environ.update(
        TPU_SKIP_MDS_QUERY="1",  # no question to the cloud which machine this is
        TPU_ACCELERATOR_TYPE="v5litepod-8",  # any that it knows: the topology says what to compile for
        TPU_WORKER_HOSTNAMES="localhost",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # the chips are not used, so other processes may have them
    )
    if not os.path.isfile(os.environ.get("TPU_LIBRARY_PATH", "")):
        os.environ.pop("TPU_LIBRARY_PATH", None)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
