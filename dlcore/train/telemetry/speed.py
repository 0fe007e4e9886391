"""Where a run's time goes: throughput, waiting for data, the devices' operations, memory, compilation."""

import contextlib
import resource
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np


class Speed:
    """Counts and clocks since the last row, read as rates by `row`; evaluations and checkpoints do not count."""

    def __init__(self) -> None:
        self._compile_seconds = 0.0
        self._begin()

    def _begin(self) -> None:
        self._steps, self._examples, self._frames, self._flops = 0, 0, 0, 0.0
        self._data_seconds = 0.0
        self._began = time.monotonic()

    def add(self, steps: int, counts: tuple[int, int], flops: float) -> None:
        """Counts a call: its steps, its examples and frames, its operations."""
        examples, frames = counts
        self._steps += steps
        self._examples += examples
        self._frames += frames
        self._flops += flops

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._data_seconds += time.monotonic() - began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within is not training."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def compiled(self, seconds: float) -> None:
        """Compilation is reported on its own and slows no step down."""
        self._compile_seconds += seconds
        self._began += seconds

    def row(self) -> dict[str, float]:
        """The rates since the last row; the next ones begin here.

        ``data_seconds`` of a step are those in which the loop waited for the batch, ``device_seconds`` the others, in
        which it waited for the devices or fed them.
        """
        seconds, steps = max(time.monotonic() - self._began, 1e-9), max(self._steps, 1)
        rates = {
            "steps_per_second": self._steps / seconds,
            "examples_per_second": self._examples / seconds,
            "data_seconds": self._data_seconds / steps,
            "device_seconds": (seconds - self._data_seconds) / steps,
            "flops_per_second": self._flops / seconds,
            "peak_memory_bytes": peak_memory_bytes(),
            "compile_seconds": self._compile_seconds,
        }
        if self._frames:
            rates["frames_per_second"] = self._frames / seconds
        self._begin()
        return rates


def count(batch: Mapping[str, Any]) -> tuple[int, int]:
    """A batch's examples, and its frames (or tokens): the sum of its ``lengths``, or what ``inputs [B, T, F]`` hold.

    >>> count({"inputs": np.zeros((3, 5, 2)), "lengths": np.array([5, 2, 0])})
    (3, 7)
    """
    examples = len(next(iter(batch.values())))
    if "lengths" in batch:
        return examples, int(np.sum(batch["lengths"]))
    inputs = batch.get("inputs")
    return examples, examples * inputs.shape[1] if inputs is not None and inputs.ndim in (2, 3) else 0


def peak_memory_bytes() -> float:
    """The most memory that the first local device has held; of the whole process where the device does not say."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return float(stats["peak_bytes_in_use"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0  # Linux counts in KiB
