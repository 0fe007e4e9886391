"""Writes a JAX trace of some steps of a run, for ``tensorboard`` or Perfetto."""

import re
from pathlib import Path

import jax


class Trace:
    """Traces the calls of some steps into the folder ``profile/`` of a run.

    Args:
        folder: the run's folder.
        steps: the first and last step, counted from 1, as ``"FIRST-LAST"``; None traces nothing. Calls are traced
            whole.
        end: the run's last step.

    Raises:
        ValueError: ``steps`` has another form, does not count up from 1 or more, or begins after the end.
    """

    def __init__(self, folder: Path, steps: str | None, end: int):
        self._folder, self._on = folder / "profile", False
        self._first, self._last = (0, 0) if steps is None else _parse(steps)
        if self._first > end:
            raise ValueError(f"--profile: got {steps!r}, expected steps of the run, which has {end}")

    def before_call(self, steps: range) -> None:
        """Starts the trace if the call has one of the steps; the loop calls this before each call of the devices.

        Args:
            steps: the steps of the call, counted from 0.
        """
        if not self._on and steps.start < self._last and steps.stop >= self._first:
            jax.profiler.start_trace(self._folder)
            self._on = True

    def after_call(self, step: int, done: jax.Array) -> None:
        """Ends the trace after its last step; the loop calls this after each call of the devices.

        Args:
            step: the number of steps after the call, which is its last step counted from 1.
            done: an output of the call; the trace waits for it before it ends.
        """
        if self._on and step >= self._last:
            jax.block_until_ready(done)
            self.close()

    def close(self) -> None:
        """Ends the trace if it is on."""
        if self._on:
            jax.profiler.stop_trace()
            self._on = False


def _parse(steps: str) -> tuple[int, int]:
    """Reads the first and the last step.

    >>> _parse("100-110")
    (100, 110)
    """
    found = re.fullmatch(r"(\d+)-(\d+)", steps)
    if not found or not 0 < int(found[1]) <= int(found[2]):
        raise ValueError(
            f"--profile: got {steps!r}, expected the first and last step to trace, such as 100-110"
        )
    return int(found[1]), int(found[2])
