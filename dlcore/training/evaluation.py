"""Evaluation on a whole finite set, in which every example counts once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.training.engine import Engine
from dlcore.training.experiment import Metrics
from dlcore.training.faults.nonfinite import NonFiniteError, first_bad_leaf
from dlcore.training.metrics.values import Metric, read_value
from dlcore.training.state import TrainState

BATCHES_IN_FLIGHT = 3


def evaluate(
    engine: Engine, state: TrainState, on_batch: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The values of all metrics over all evaluation batches, sorted by name, as `read_sums` returns them.

    The devices work ahead by a few batches; the sums are added in float64 on the host.

    Args:
        engine: the engine of the experiment that has the ``eval_data``.
        state: the state to evaluate; the moving average of its parameters is used if there is one.
        on_batch: called after every batch, for instance to reset a watchdog.

    Raises:
        TypeError: an evaluation batch is not a dict of arrays.
        ValueError: there is no evaluation batch, or its fields have different numbers of rows.
        NonFiniteError: the metric ``loss``, or the one that decides which checkpoint is the best, is NaN; the message
            names the first batch that makes it NaN.
    """
    batches = []
    for metrics in engine.eval_metrics(state):
        batches.append(metrics)
        jax.block_until_ready(batches[-BATCHES_IN_FLIGHT:][0])  # no more batches on the devices at a time
        on_batch()
    if not batches:
        raise ValueError("eval_data: got no batch, expected at least one; it must be iterable more than once")
    batches = jax.device_get(batches)
    values = read_sums(jax.tree.map(lambda *leaves: np.sum(leaves, axis=0, dtype=np.float64), *batches))
    for name in ("loss", engine.experiment.best):
        if np.isnan(values.get(name, 0)).any():
            raise NonFiniteError(int(state.step), _find_nan(engine, name, batches))
    return values


def read_sums(sums: Mapping[str, Metric]) -> dict[str, Any]:
    """The values of summed metrics, sorted by name: floats, and nested lists of floats for arrays."""
    # A value() may use jax.numpy, which moves the sums to the device again; the training loop forbids that elsewhere.
    with jax.transfer_guard("allow"):
        return {name: read_value(metric) for name, metric in sorted(jax.device_get(sums).items())}


def _find_nan(engine: Engine, name: str, batches: Sequence[Metrics]) -> str:
    """Says which evaluation batch makes the metric NaN, and which of its fields is the first that is not finite."""
    for index, (metrics, batch) in enumerate(zip(batches, engine.experiment.eval_data, strict=False)):
        if np.isnan(read_sums({name: metrics[name]})[name]).any():
            field = first_bad_leaf(dict(batch))
            cause = field or (
                "all fields are finite; the model makes it, or a label outside of the classes, or the metric is not "
                "defined for these labels"
            )
            return f"the evaluation's {name} is NaN, first in batch {index} of eval_data: {cause}"
    return f"the evaluation's {name} is NaN, though it is not in any batch"
