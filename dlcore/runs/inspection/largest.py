"""Searches for the largest batch that fits a device's memory, by compiling steps of other sizes."""

from collections.abc import Callable
from typing import NamedTuple

MOST_TRIALS = 8
ROWS_OF_A_TILE = 8
"""Compilers cut arrays into tiles of so many rows, and may waste memory on other numbers."""


class Trial(NamedTuple):
    """A number of rows, the bytes that a device needs for them (None: unknown), and whether it has them."""

    rows: int
    needed: int | None
    fits: bool


def find_largest(
    measure: Callable[[int], Trial], failed: Trial, memory: int | None, empty: int, unit: int
) -> tuple[Trial | None, Trial]:
    """The largest number of rows that fits, among the multiples of ``8 unit``, or of ``unit`` if none of them fits.

    The search narrows the gap between a number that fits and one that does not. It guesses that the bytes grow evenly
    between both; each third time it takes the middle, since compilers save memory where it is scarce. It compiles at
    most 8 times for each of the two units.

    Args:
        measure: compiles a step for a number of rows.
        failed: a number of rows that does not fit.
        memory: the bytes of a device; None if they are unknown.
        empty: the bytes that a device needs without any row.
        unit: the rows must be a multiple of it.

    Returns:
        The trial with the most rows that fit, None if none do, and the trial with the fewest rows that do not fit.

    >>> find_largest(lambda rows: Trial(rows, 10 * rows, rows <= 97), Trial(800, 8000, False), 970, 0, unit=2)
    (Trial(rows=96, needed=960, fits=True), Trial(rows=112, needed=1120, fits=False))
    """
    low, high = Trial(0, empty, True), failed
    for step in (ROWS_OF_A_TILE * unit, unit):
        for trials in range(MOST_TRIALS):
            rows = _guess(low, high, None if trials % 3 == 2 else memory, step)
            if rows is None:
                break
            trial = measure(rows)
            low, high = (trial, high) if trial.fits else (low, trial)
        if low.rows:
            return low, high
    return None, high


def _guess(low: Trial, high: Trial, memory: int | None, step: int) -> int | None:
    """A multiple of ``step`` between the two numbers of rows, in the middle without a memory; None if there is none."""
    first, last = (low.rows // step + 1) * step, (high.rows - 1) // step * step
    if first > last:
        return None
    share = 0.5
    if memory is not None and low.needed is not None and high.needed is not None and high.needed > low.needed:
        share = (memory - low.needed) / (high.needed - low.needed)
    rows = int(low.rows + share * (high.rows - low.rows)) // step * step
    return min(max(rows, first), last)
