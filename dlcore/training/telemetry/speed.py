"""Where a run's time goes: throughput, waiting for data, the devices' operations, memory, compilation."""

import contextlib
import resource
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np


class Speed:
    """Counts and clocks since the last row, which `read_rates` turns into rates.

    Only the time of training counts, not that of evaluations, checkpoints and compilations.
    """

    def __init__(self) -> None:
        self._compile_seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._steps, self._examples, self._frames, self._flops = 0, 0, 0, 0.0
        self._data_seconds = 0.0
        self._began = time.monotonic()

    def add_call(self, steps: int, counts: tuple[int, int], flops: float) -> None:
        """Counts a call of the devices.

        Args:
            steps: training steps in the call.
            counts: examples and frames of its batches, see `count_examples`.
            flops: floating-point operations of the call.
        """
        examples, frames = counts
        self._steps += steps
        self._examples += examples
        self._frames += frames
        self._flops += flops

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """A context manager that counts the time in its block as waiting for data."""
        began = time.monotonic()
        yield
        self._data_seconds += time.monotonic() - began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A context manager that leaves out the time in its block, since it is not training."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def add_compilation(self, seconds: float) -> None:
        """Counts the seconds of a compilation, which are reported on their own and are no time of training."""
        self._compile_seconds += seconds
        self._began += seconds

    def read_rates(self) -> dict[str, float]:
        """The rates since the previous call of this method, by name.

        ``steps_per_second``, ``examples_per_second``, ``flops_per_second`` and, if there were frames,
        ``frames_per_second`` are rates. ``data_seconds`` and ``device_seconds`` are the parts of the mean time of one
        step in which the loop waited for the batch, and in which it waited for the devices or fed them.
        ``peak_memory_bytes`` and ``compile_seconds`` are not since the previous call but since the start of the run.
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
        self._reset()
        return rates


def count_examples(batch: Mapping[str, Any]) -> tuple[int, int]:
    """The number of examples in a batch ``[B, ...]`` and the number of its frames (or tokens), a pair of integers.

    The number of frames is the sum of ``lengths [B]`` if the batch has them; else it is ``B * T`` if there are
    ``inputs [B, T, F]`` or ``[B, T]``; else it is 0.

    >>> count_examples({"inputs": np.zeros((3, 5, 2)), "lengths": np.array([5, 2, 0])})
    (3, 7)
    """
    examples = len(next(iter(batch.values())))
    if "lengths" in batch:
        return examples, int(np.sum(batch["lengths"]))
    inputs = batch.get("inputs")
    return examples, examples * inputs.shape[1] if inputs is not None and inputs.ndim in (2, 3) else 0


def peak_memory_bytes() -> float:
    """The most bytes of memory that the first local device has used since the process began.

    If the device does not tell, it is the most memory of the process on the host.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return float(stats["peak_bytes_in_use"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0  # Linux counts in KiB
