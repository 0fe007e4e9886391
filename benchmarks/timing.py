"""Side-by-side timing: all candidates run in turn in one process, so that a noisy machine disturbs all alike."""

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

PAUSE = 0.03
"""Seconds after which the threads of the previous step have fallen asleep."""


def in_turn(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Times each step ``rounds`` times and returns the seconds; a step must return only when its work is done.

    The order of the steps changes from round to round. A library's threads spin for some milliseconds after their work,
    which would slow down the next step, so a pause comes before each timed step. Then the same step runs once untimed,
    which wakes its own threads.
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
    """Returns how many times faster ``ours`` is than ``peer``: the median of the rounds' ratios."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[peer], strict=True))
