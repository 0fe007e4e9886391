"""Evaluation on a whole finite set, every example counted once."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from dlcore.train.engine import Engine
from dlcore.train.metrics import Metric
from dlcore.train.state import TrainState


def evaluate(engine: Engine, state: TrainState, alive: Callable[[], None] = lambda: None) -> dict[str, float]:
    """The value of each metric over all batches; the devices work ahead, sums are added in float64.

    Args:
        engine: of the experiment whose ``eval_data`` it is.
        state: evaluated with the moving average of its parameters, where there is one.
        alive: called for every batch, for a watchdog.

    Raises:
        ValueError: there was no batch.
    """
    batches = []
    for metrics in engine.eval_metrics(state):
        batches.append(metrics)
        jax.block_until_ready(batches[-3:][0])  # no more than three batches on the devices
        alive()
    if not batches:
        raise ValueError(
            "eval_data: got no batch, expected at least one; it must be walkable again and again"
        )
    sums = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64), *jax.device_get(batches))
    return read_sums(sums)


def read_sums(sums: Mapping[str, Metric]) -> dict[str, float]:
    """The values of summed metrics, as Python numbers."""
    return {name: float(metric.value()) for name, metric in sorted(jax.device_get(sums).items())}
