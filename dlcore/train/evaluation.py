"""Evaluation on a whole finite set, every example counted once."""

from collections.abc import Iterable, Mapping

import jax
import numpy as np

from dlcore.metrics import Metric
from dlcore.train.experiment import Batch
from dlcore.train.state import TrainState
from dlcore.train.step import EvalStep


def evaluate(eval_step: EvalStep, state: TrainState, eval_data: Iterable[Batch]) -> dict[str, float]:
    """The value of each metric over all batches; the device works ahead, sums are added in float64.

    Raises:
        ValueError: there was no batch.
    """
    batches = [eval_step(state.params, state.model_state, batch) for batch in eval_data]
    if not batches:
        raise ValueError(
            "eval_data: got no batch, expected at least one; it must be walkable again and again"
        )
    sums = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64), *jax.device_get(batches))
    return read_sums(sums)


def read_sums(sums: Mapping[str, Metric]) -> dict[str, float]:
    """The values of summed metrics, as Python numbers."""
    return {name: float(metric.value()) for name, metric in sorted(jax.device_get(sums).items())}
