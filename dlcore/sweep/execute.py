"""Many configurations as one vectorized program, and a table with which a sweep that was stopped goes on.

A sweep has few shapes and many numbers: a recurrent scale, a bias, a seed change no shape. So these are arguments of
a program that is compiled once for each `Group`, vectorized over configurations, and shared out over the devices.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dlcore.config.text import to_text
from dlcore.sweep.plan import Group, Measure, Sweep, Tree
from dlcore.sweep.table import Row, Table
from dlcore.utils.progress import Progress

if TYPE_CHECKING:
    pass

Program: TypeAlias = Callable[[Tree, dict[str, np.ndarray]], Mapping[str, jax.Array]]

AXIS = "configurations"
LEVEL = "xla_backend_optimization_level"


def run(sweep: Sweep, path: Path, memory: float | None = None) -> list[Row]:
    """Measures what the table does not have yet, and returns its rows of this sweep in their order.

    Each batch's rows are on the disk when the next batch begins. The same configurations in the same batches give the
    same bytes.

    Args:
        sweep: what to measure.
        path: the table, CSV with a row a configuration and measures with six digits.
        memory: bytes that a batch may take; None: half of what is free.

    Raises:
        ValueError: the file is no table of these columns. BlockingIOError: another process writes to it.
    """
    memory = free_memory() / 2 if memory is None else memory
    points = [point for group in sweep.groups for point in group.points()]
    with Table(path, sweep.settings, sweep.measures) as table, contextlib.ExitStack() as stack:
        done = sum(point in table for point in points)
        progress = stack.enter_context(Progress("sweep", "configuration", len(points), done))
        progress.advance(0)  # starts the clock
        threads = ThreadPoolExecutor(os.cpu_count())  # which compile while others run
        stack.callback(threads.shutdown, cancel_futures=True)
        missing = [group for group in sweep.groups if any(point not in table for point in group.points())]
        sizes = [
            batch_size(len(group.own), jax.local_device_count(), group.bytes_each, memory)
            for group in missing
        ]
        programs = [threads.submit(_compiled, *job) for job in zip(missing, sizes, strict=True)]
        for group, size, program in zip(missing, sizes, programs, strict=True):
            _fill(group, program.result(), size, table, progress)
        return [table[point] for point in points]


def batch_size(configurations: int, devices: int, bytes_each: int, memory: float) -> int:
    """How many configurations are measured at a time: in as few batches as memory allows, all of the same size.

    Args:
        configurations: how many there are. devices: of which their number is a multiple.
        bytes_each: of one. memory: bytes for all; one configuration a device is measured in any case.

    >>> batch_size(64, 1, 10**6, 40e6), batch_size(64, 8, 10**6, 40e6), batch_size(3, 2, 10**6, 1e3)
    (32, 32, 2)
    """
    fitting = max(int(memory // (bytes_each * devices)), 1)  # on each device
    each = -(-configurations // devices)
    batches = -(-each // fitting)
    return devices * -(-each // batches)


def free_memory() -> float:
    """Bytes that are free on all of the process' devices, or in the machine where these do not say."""
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    if all("bytes_limit" in known for known in statistics):
        return sum(known["bytes_limit"] - known["bytes_in_use"] for known in statistics)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not on Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _fill(group: Group, program: Program, size: int, table: Table, progress: Progress) -> None:
    for labels, shared in group.shared:
        points = group.points_with(labels)
        missing = [number for number, point in enumerate(points) if point not in table]
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            measured = program(_arrays(shared), _stacked([group.own[number] for number in batch], size))
            table.append([points[number] for number in batch], jax.device_get(measured))
            progress.advance(len(batch))
            progress.report({name: to_text(value) for name, value in {**group.settings, **labels}.items()})


def _compiled(group: Group, size: int) -> Program:
    """For batches of that size."""
    arguments = _arrays(group.shared[0][1]), _stacked(group.own[:1], size)
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arguments)
    leaves, structure = jax.tree.flatten(shapes)
    return _program(group.measure, tuple(jax.local_devices()), structure, tuple(leaves))


@functools.lru_cache
def _program(
    measure: Measure,
    devices: tuple[jax.Device, ...],
    structure: Any,
    leaves: tuple[jax.ShapeDtypeStruct, ...],
) -> Program:
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (AXIS,)))
    program = jax.jit(
        jax.vmap(measure, in_axes=(None, 0)), in_shardings=(everywhere, split), out_shardings=split
    )
    return program.lower(*jax.tree.unflatten(structure, leaves)).compile(_options(devices[0].platform))


def _options(platform: str) -> dict[str, Any]:
    """A program runs for less time than a CPU's compiler takes for it, of which this level saves a fifth."""
    chosen = LEVEL in os.environ.get("XLA_FLAGS", "")
    return {LEVEL: 1} if platform == "cpu" and not chosen else {}


def _arrays(tree: Tree) -> Tree:
    """Python's numbers as arrays, whose dtype does not depend on what they meet."""
    return jax.tree.map(np.asarray, tree)


def _stacked(numbers: Sequence[Mapping[str, float]], size: int) -> dict[str, np.ndarray]:
    """By name ``[size]``, filled up with the last ones."""
    filled = [*numbers, *[numbers[-1]] * (size - len(numbers))]
    return {name: np.array([row[name] for row in filled], np.float32) for name in filled[0]}
