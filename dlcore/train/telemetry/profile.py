"""A JAX trace of some steps of a run, for ``tensorboard`` or Perfetto."""

import re
from pathlib import Path

import jax


class Trace:
    """Traces the calls within some steps, into ``profile/`` of the run's folder.

    Args:
        folder: the run's.
        steps: ``"FIRST-LAST"``; None traces nothing.
        end: the run's last step.

    Raises:
        ValueError: the text is something else, or begins behind the end.
    """

    def __init__(self, folder: Path, steps: str | None, end: int):
        self._folder, self._on = folder / "profile", False
        self._first, self._last = _read(steps) if steps else (0, 0)
        if self._first > end:
            raise ValueError(f"--profile: got {steps!r}, expected steps of the run, which has {end}")

    def before(self, steps: range) -> None:
        """To be called before each call of the devices."""
        if not self._on and steps.start < self._last and steps.stop >= self._first:
            jax.profiler.start_trace(self._folder)
            self._on = True

    def after(self, step: int, done: jax.Array) -> None:
        """To be called with what a call gives, for which the trace waits behind its last step."""
        if self._on and step >= self._last:
            jax.block_until_ready(done)
            self.close()

    def close(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False


def _read(steps: str) -> tuple[int, int]:
    """
    >>> _read("100-110")
    (100, 110)
    """
    found = re.fullmatch(r"(\d+)-(\d+)", steps)
    if not found or not 0 < int(found[1]) <= int(found[2]):
        raise ValueError(
            f"--profile: got {steps!r}, expected the first and last step to trace, such as 100-110"
        )
    return int(found[1]), int(found[2])
