"""Evaluation on a whole finite set, in which every example counts once."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dlcore.training.engine import Engine
from dlcore.training.experiment import Metrics, data_name, metric_name
from dlcore.training.faults.nonfinite import NonFiniteError, first_bad_leaf
from dlcore.training.metrics.values import Metric, read_value
from dlcore.training.state import TrainState

BATCHES_IN_FLIGHT = 3


def evaluate(
    engine: Engine, state: TrainState, on_batch: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The values of all metrics over all batches of each evaluation set, as `read_sums` returns them, and the scores.

    The sets come in the experiment's order, the metrics of a set sorted by name. The devices work ahead by a few
    batches; the sums are added in float64 on the host.

    Args:
        engine: the engine of the experiment that has the evaluation sets.
        state: the state to evaluate; the moving average of its parameters is used if there is one.
        on_batch: called after every batch, for instance to reset a watchdog.

    Raises:
        TypeError: an evaluation batch is not a dict of arrays.
        ValueError: there is no evaluation batch, or its fields have different numbers of rows; or a score has the name
            of a metric.
        NonFiniteError: the metric ``loss`` of a set, or the one that decides which checkpoint is the best, is NaN; the
            message names the first batch that makes it NaN.
    """
    values: dict[str, Any] = {}
    for eval_set in engine.experiment.eval_sets:
        found = _evaluate_set(engine, state, eval_set, on_batch)
        values |= {metric_name(eval_set, name): value for name, value in found.items()}
    return {**values, **_scores(engine, state, values)}


def _scores(engine: Engine, state: TrainState, values: Mapping[str, Any]) -> dict[str, float]:
    """The scores of the experiment: numbers by names that no metric has."""
    if engine.experiment.scores is None:
        return {}
    with jax.transfer_guard("allow"):
        params, model_state = engine.replicate((state.evaluated_params, state.model_state))
        scores = engine.experiment.scores(params, model_state)
    if both := sorted(set(scores) & set(values)):
        raise ValueError(f"scores: got {both[0]!r}, expected another name; an evaluation has such a metric")
    return {name: float(value) for name, value in scores.items()}


def _evaluate_set(
    engine: Engine, state: TrainState, eval_set: str, on_batch: Callable[[], None]
) -> dict[str, Any]:
    sums: Any = None
    in_flight: deque[Any] = deque()
    for metrics in engine.eval_metrics(state, eval_set):
        in_flight.append(metrics)
        if len(in_flight) == BATCHES_IN_FLIGHT:
            sums = _add(sums, in_flight.popleft())
        on_batch()
    for metrics in in_flight:
        sums = _add(sums, metrics)
    if sums is None:
        raise ValueError(
            f"{data_name(eval_set)}: got no batch, expected at least one; it must be iterable more than once"
        )
    values = read_sums(sums)
    for name, value in values.items():
        decides = name == "loss" or metric_name(eval_set, name) == engine.experiment.best
        if decides and np.isnan(value).any():
            raise NonFiniteError(int(state.step), _find_nan(engine, state, eval_set, name, on_batch))
    return values


def _add(sums: Any, metrics: Metrics) -> Any:
    """The sums in float64 with those of one more batch; waits until the devices computed these."""
    metrics = jax.device_get(metrics)
    zeros = jax.tree.map(np.zeros_like, metrics) if sums is None else sums
    return jax.tree.map(lambda total, leaf: np.add(total, leaf, dtype=np.float64), zeros, metrics)


def read_sums(sums: Mapping[str, Metric]) -> dict[str, Any]:
    """The values of summed metrics, sorted by name: floats, and nested lists of floats for arrays."""
    # A value() may use jax.numpy, which moves the sums to the device again; the training loop forbids that elsewhere.
    with jax.transfer_guard("allow"):
        return {name: read_value(metric) for name, metric in sorted(jax.device_get(sums).items())}


def _find_nan(
    engine: Engine, state: TrainState, eval_set: str, name: str, on_batch: Callable[[], None]
) -> str:
    """Says which evaluation batch makes the metric NaN, and which of its fields is the first that is not finite.

    It evaluates the set once more, so that an evaluation need not keep the sums of every batch.
    """
    full_name, data = metric_name(eval_set, name), engine.experiment.eval_sets[eval_set]
    for index, (metrics, batch) in enumerate(zip(engine.eval_metrics(state, eval_set), data, strict=False)):
        on_batch()
        if np.isnan(read_sums({name: metrics[name]})[name]).any():
            field = first_bad_leaf(dict(batch))
            cause = field or (
                "all fields are finite; the model makes it, or a label outside of the classes, or the metric is not "
                "defined for these labels"
            )
            return f"the evaluation's {full_name} is NaN, first in batch {index} of {data_name(eval_set)}: {cause}"
    return f"the evaluation's {full_name} is NaN, though it is in no batch that can be read again"
