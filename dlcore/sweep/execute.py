"""Runs a sweep: compiles one program for each group, vectorized over configurations and shared out over the devices."""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dlcore.config.text import to_text
from dlcore.sweep.plan import Group, MeasureFunction, Sweep, Tree, check_sweep
from dlcore.sweep.table import Row, Table
from dlcore.utils.checks import check_instance, check_integer, check_number
from dlcore.utils.progress import Progress

Program: TypeAlias = Callable[[Tree, dict[str, np.ndarray]], Mapping[str, jax.Array]]

AXIS = "configurations"
LEVEL = "xla_backend_optimization_level"


def run(sweep: Sweep, path: Path, memory: float | None = None) -> list[Row]:
    """Measures the configurations that the table does not have yet, and writes them to the table.

    The rows of a batch are in the file before the next batch begins. The same configurations in the same batches give
    the same bytes of the file.

    Args:
        sweep: what to measure.
        path: the table, a CSV file with one row for each configuration. Measures that are floats have six digits.
        memory: bytes that a batch may take; None means half of what is free.

    Returns:
        A list of the table's rows of this sweep, old and new, each a dict of texts by column, in the order of the
        groups.

    Raises:
        ValueError: the file is not a table with these columns, a group does not measure what the sweep's measures say,
            memory is below 0, or as in `check_sweep`.
        TypeError: path is no path, memory no number, or as in `check_sweep`.
        BlockingIOError: the table is open elsewhere, in another process or in this one.
    """
    check_sweep(sweep)
    check_instance("path", path, (str, Path), "the path of a CSV file")
    memory = free_memory() / 2 if memory is None else check_number("memory", memory, "[0, inf]")
    wanted = [row for group in sweep.groups for row in group.configurations()]
    with Table(Path(path), sweep.settings, sweep.measures) as table, contextlib.ExitStack() as stack:
        done = sum(row in table for row in wanted)
        progress = stack.enter_context(Progress("sweep", "configuration", len(wanted), done))
        progress.advance(0)  # starts the clock
        threads = ThreadPoolExecutor(os.cpu_count())  # They compile while other programs run.
        stack.callback(threads.shutdown, cancel_futures=True)
        jobs = []
        for group in sweep.groups:
            if any(row not in table for row in group.configurations()):
                size = batch_size(len(group.numbers), jax.local_device_count(), group.bytes_each, memory)
                jobs.append((group, size, threads.submit(_compile, group, size, sweep.measures)))
        for group, size, program in jobs:
            _measure_missing(group, program.result(), size, table, progress)
        return [table[row] for row in wanted]


def batch_size(configurations: int, devices: int, bytes_each: int, memory: float) -> int:
    """How many configurations are measured at a time, so that batches are few, fit into memory and have the same size.

    Args:
        configurations: number of configurations.
        devices: number of devices.
        bytes_each: bytes that a configuration takes.
        memory: bytes for a batch. Each device measures at least one configuration, even if it does not fit.

    Returns:
        The number of configurations in each batch, a multiple of ``devices``.

    Raises:
        ValueError: configurations or devices is below 1, bytes_each is not above 0, or memory is below 0.
        TypeError: configurations or devices is not an integer, or one of the others not a number.

    >>> batch_size(64, 1, 10**6, 40e6), batch_size(64, 8, 10**6, 40e6), batch_size(3, 2, 10**6, 1e3)
    (32, 32, 2)
    """
    check_integer("configurations", configurations)
    check_integer("devices", devices)
    check_number("bytes_each", bytes_each, "(0, inf)")
    check_number("memory", memory, "[0, inf]")
    fitting = int(min(max(memory / (bytes_each * devices), 1), configurations))  # on each device
    each = -(-configurations // devices)
    batches = -(-each // fitting)
    return devices * -(-each // batches)


def free_memory() -> float:
    """The number of free bytes, a float: the sum over all devices of the process.

    If the devices do not tell, it is the memory that is available on the machine; off Linux, half of its memory.
    """
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    if all("bytes_limit" in known for known in statistics):
        return sum(known["bytes_limit"] - known["bytes_in_use"] for known in statistics)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not on Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def _measure_missing(group: Group, program: Program, size: int, table: Table, progress: Progress) -> None:
    """Measures the group's configurations that the table does not have, in batches of this size."""
    for shared in group.shared:
        rows = group.configurations_of(shared)
        missing = [index for index, row in enumerate(rows) if row not in table]
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            numbers = _stack([group.numbers[index] for index in batch], size)
            measured = program(_to_arrays(shared.arrays), numbers)
            table.append([rows[index] for index in batch], jax.device_get(measured))
            progress.advance(len(batch))
            labels = {**group.settings, **shared.labels}
            progress.report({name: to_text(value) for name, value in labels.items()})


def _compile(group: Group, size: int, measures: Sequence[str]) -> Program:
    """The group's program for batches of this size."""
    arguments = _to_arrays(group.shared[0].arrays), _stack(group.numbers[:1], size)
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arguments)
    one = shapes[0], jax.tree.map(lambda array: jax.ShapeDtypeStruct((), array.dtype), shapes[1])
    _check_measured(jax.eval_shape(group.measure, *one), measures)
    leaves, structure = jax.tree.flatten(shapes)
    return _compile_once(group.measure, tuple(jax.local_devices()), structure, tuple(leaves))


def _check_measured(measured: Any, measures: Sequence[str]) -> None:
    """Checks that a measure's result has a scalar for every measure and no other name."""
    check_instance("measure", measured, Mapping, "a function that returns a dict of scalars by name")
    if set(measured) != set(measures):
        raise ValueError(
            f"measure: got a result with {sorted(measured)}, expected the measures {sorted(measures)}"
        )
    for name, value in measured.items():
        if getattr(value, "shape", None) != ():
            raise ValueError(f"measure: got {value} for {name}, expected a scalar array")


@functools.lru_cache
def _compile_once(
    measure: MeasureFunction,
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
    """The compiler's options.

    On a CPU a program of a sweep compiles for longer than it runs. This level makes compilation a fifth shorter.
    """
    chosen = LEVEL in os.environ.get("XLA_FLAGS", "")
    return {LEVEL: 1} if platform == "cpu" and not chosen else {}


def _to_arrays(tree: Tree) -> Tree:
    """Python's numbers become arrays, so that their dtype does not depend on what they are combined with."""
    return jax.tree.map(np.asarray, tree)


def _stack(numbers: Sequence[Mapping[str, float]], size: int) -> dict[str, np.ndarray]:
    """The numbers by name, ``[size]``. The last ones are repeated to fill the batch."""
    filled = [*numbers, *[numbers[-1]] * (size - len(numbers))]
    return {name: np.array([row[name] for row in filled], np.float32) for name in filled[0]}
