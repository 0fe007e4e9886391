"""Evaluation on a whole finite set, in which every example counts once."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from dlcore.train.engine import Engine
from dlcore.train.metrics import Metric
from dlcore.train.state import TrainState

BATCHES_IN_FLIGHT = 3


def evaluate(
    engine: Engine, state: TrainState, on_batch: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The values of all metrics over all evaluation batches: a dict of floats, sorted by name.

    The devices work ahead by a few batches; the sums are added in float64 on the host.

    Args:
        engine: the engine of the experiment that has the ``eval_data``.
        state: the state to evaluate; the moving average of its parameters is used if there is one.
        on_batch: called after every batch, for instance to reset a watchdog.

    Raises:
        ValueError: there is no evaluation batch.
    """
    batches = []
    for metrics in engine.eval_metrics(state):
        batches.append(metrics)
        jax.block_until_ready(batches[-BATCHES_IN_FLIGHT:][0])  # no more batches on the devices at a time
        on_batch()
    if not batches:
        raise ValueError("eval_data: got no batch, expected at least one; it must be iterable more than once")
    sums = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64), *jax.device_get(batches))
    return read_sums(sums)


def read_sums(sums: Mapping[str, Metric]) -> dict[str, float]:
    """The values of summed metrics: a dict of floats, sorted by name."""
    return {name: float(metric.value()) for name, metric in sorted(jax.device_get(sums).items())}
