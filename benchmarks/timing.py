"""Timing side by side: everything in one process, in turn, so that a noisy machine is noisy for all."""

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

PAUSE = 0.03
"""Seconds in which the threads of the last step fall asleep."""


def in_turn(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, ``rounds`` times; a step returns when its work is done.

    Each round has an order of its own. Before each timed step there is a pause, as a library's threads spin for some
    milliseconds after their work, which would be in the next one's time, and the same step untimed, which wakes its
    own threads.
    """
    order = np.random.default_rng(0)
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name in order.permutation(list(steps)):
            time.sleep(PAUSE)
            steps[name]()
            began = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def speedup(seconds: Mapping[str, list[float]], ours: str, peer: str) -> float:
    """How many times faster ``ours`` is: the median of the ratios of each round."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[peer], strict=True))
