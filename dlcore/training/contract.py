"""Checks that an experiment keeps its contract: traces its functions before anything is computed."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.batch import STREAMS, row_count, shapes_of, with_rows
from dlcore.data.pipeline import batch_of
from dlcore.training.arguments import check_call, check_pair, describe
from dlcore.training.callbacks.early_stopping import EarlyStopping
from dlcore.training.experiment import (
    Batch,
    Experiment,
    Metrics,
    ModelState,
    Params,
    data_name,
    metric_name,
)
from dlcore.training.metrics.checks import check_metric, check_same_shapes
from dlcore.training.stream_evaluation import has_streams, initial_streams
from dlcore.utils.checks import check_instance
from dlcore.utils.trees import first_difference, named_leaves

RESERVED = {
    True: {
        "gradient_norm",
        "gradient_norm_clipped",
        "clipped_fraction",
        "nonfinite_fraction",
        "learning_rate",
    },
    False: {"steps", "seconds", "folder", "stopped"},
}
"""Names that no metric of training (True) or evaluation (False) may have, since the run gives them itself."""


def check_model(experiment: Experiment) -> None:
    """Checks an experiment by tracing its functions on a training batch and on one of each evaluation set.

    It computes nothing. Evaluation sets whose first batches have the same fields, shapes and types are traced once.

    Raises:
        ValueError: ``best`` or the metric of an `EarlyStopping` is not an evaluation metric with one number as its
            value, a metric has a name that the run gives itself, there is no evaluation set, a set has no batch or a
            name with a slash, or the fields of a batch have different numbers of rows.
        TypeError: ``init``, ``loss`` or a batch are not what the contract says, a metric is no sum as far as
            `metrics.checks` can tell, or a set of ``eval_data`` can be iterated only once or never ends.
        Exception: whatever the model raises if its settings do not fit the data.
    """
    train_batch, eval_batches = _first_train_batch(experiment.train_data), _first_eval_batches(experiment)
    rng = jax.eval_shape(lambda: jax.random.key(0))
    params, model_state = _trace_init(experiment, rng, train_batch)
    _trace_loss(experiment, (params, model_state, train_batch, rng), train=True)
    traced: dict[Any, dict[str, tuple[int, ...]]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for eval_set, batch in eval_batches.items():
        fields = shapes_of(batch)
        if fields not in traced:
            traced[fields] = _trace_evaluation(experiment, params, model_state, batch, rng)
        shapes |= {metric_name(eval_set, name): shape for name, shape in traced[fields].items()}
    _check_number("best", experiment.best, shapes)
    for callback in experiment.callbacks:
        if isinstance(callback, EarlyStopping):
            _check_number("EarlyStopping: metric", callback.metric, shapes)


def _check_number(name: str, metric: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks that a metric that decides something is one number; ``shapes`` are those of the metrics' values."""
    numbers = [name for name, shape in sorted(shapes.items()) if shape == ()]
    if metric not in numbers:
        got = f"{metric!r}"
        if metric in shapes:
            got += f", whose value is an array of shape {shapes[metric]}"
        raise ValueError(
            f"{name}: got {got}, expected one of the metrics: {', '.join(numbers) or '(none)'}; one number decides"
        )


def _first_train_batch(train_data: Any) -> Batch:
    batch = batch_of(train_data, 0, "train_data")
    row_count(batch, "train_data")
    return batch


def _first_eval_batches(experiment: Experiment) -> dict[str, Batch]:
    """The first batch of each evaluation set, by the set's name."""
    sets = experiment.eval_sets
    if not sets:
        raise ValueError("eval_data: got no evaluation set, expected at least one")
    if any(hasattr(data, "dtype") for data in sets.values()):
        raise TypeError(
            "eval_data: got one batch, expected a list of batches, or a dict of such lists by name"
        )
    if isinstance(experiment.eval_data, Mapping):
        check_set_names("eval_data", sets)
    return {name: _first_eval_batch(data, data_name(name)) for name, data in sets.items()}


def check_set_names(argument: str, sets: Iterable[Any]) -> None:
    """Checks the names of evaluation sets.

    Args:
        argument: what error messages call the sets.
        sets: the names.

    Raises:
        TypeError: a name is no text.
        ValueError: it is empty or has a slash, which ends it in the names of metrics.
    """
    for name in sets:
        check_instance(argument, name, str, "names of evaluation sets that are text")
        if not name or "/" in name:
            raise ValueError(f"{argument}: got {name!r}, expected a name without a slash, such as 'dev'")


def _first_eval_batch(data: Any, name: str) -> Batch:
    expected = "expected a list of batches or PaddedBatches"
    if isinstance(data, Mapping):
        raise TypeError(f"{name}: got one batch, {expected}")
    if not hasattr(data, "__iter__") and not hasattr(data, "__len__"):
        raise TypeError(f"{name}: got {type(data).__name__}, which has no end, {expected}")
    if iter(data) is data:
        raise TypeError(f"{name}: got an iterator, which can be iterated only once, {expected}")
    batch = next(iter(data), None)
    if batch is None:
        raise ValueError(f"{name}: got no batch, expected at least one")
    row_count(batch, name)
    return batch


def _trace_init(experiment: Experiment, rng: Any, batch: Batch) -> tuple[Params, ModelState]:
    """The shapes of the parameters and of the model state."""

    def init(rng: Any, batch: Batch) -> Any:
        returned = check_pair("init", experiment.init(rng, batch), "params, model_state")
        _check_leaves("init", returned)
        return returned

    check_call("init", experiment.init, rng, batch)
    params, model_state = jax.eval_shape(init, rng, batch)
    for name, leaf in named_leaves({"params": params}).items():
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise TypeError(
                f"init: got {name} of type {leaf.dtype}, expected floating point numbers, which a gradient can change; "
                "other arrays belong into model_state"
            )
    return params, model_state


def _trace_evaluation(
    experiment: Experiment, params: Params, model_state: ModelState, batch: Batch, rng: Any
) -> dict[str, tuple[int, ...]]:
    """The shapes of the values of an evaluation batch's metrics, whose streams begin anew."""
    if has_streams(model_state, batch):
        streams = jax.eval_shape(functools.partial(initial_streams, experiment), batch)
        batch = {**batch, STREAMS: streams}
    return _trace_loss(experiment, (params, model_state, batch, rng), train=False)


def _trace_loss(
    experiment: Experiment, arguments: tuple[Any, ...], train: bool
) -> dict[str, tuple[int, ...]]:
    """The shapes of the values of the metrics that the loss returns, by name."""

    called = experiment.loss if train else experiment.evaluate_batch

    def loss(params: Params, model_state: ModelState, batch: Batch, rng: Any) -> Any:
        returned = called(params, model_state, batch, rng, train)
        check_returned(returned)
        return returned

    check_call("loss", experiment.loss, *arguments, train)
    value, (model_state, metrics) = jax.eval_shape(loss, *arguments)
    if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(
            f"loss: got {value.dtype} of shape {value.shape} as the loss, expected a floating point scalar, such as "
            "the mean of the losses of all rows"
        )
    if train:
        _check_same_state(arguments[1], model_state)
    elif STREAMS in arguments[2]:
        _check_same_state({STREAMS: arguments[2][STREAMS]}, {STREAMS: model_state[STREAMS]})
    for name in metrics:
        if name in RESERVED[train] or name.startswith("learning_rate/"):
            raise ValueError(
                f"loss: got a metric {name!r}, expected another name; the run itself gives this one"
            )
    params, state, batch, rng = arguments
    return _check_metrics(metrics, batch, lambda rows: jax.eval_shape(loss, params, state, rows, rng), train)


def check_returned(returned: Any) -> None:
    """Checks that a loss function returned what the contract says: ``loss, (model_state, metrics)``.

    Raises:
        TypeError: it returned something else.
    """
    try:
        _, (_, metrics) = returned
        named = metrics.items()
    except (TypeError, ValueError, AttributeError):
        raise TypeError(
            f"loss: got {describe(returned)} returned, expected loss, (model_state, metrics) with a dict of metrics"
        ) from None
    for name, metric in named:
        check_instance("loss", name, str, "metrics whose names are text")
        if not hasattr(metric, "value"):
            raise TypeError(
                f"loss: got {describe(metric)} as the metric {name!r}, expected a sum that has a value(), for instance "
                "dl.metrics.Average.of(values)"
            )
    _check_leaves("loss", returned)


def _check_leaves(name: str, returned: Any) -> None:
    for path, leaf in named_leaves(returned).items():
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex):
            raise TypeError(
                f"{name}: got {type(leaf).__name__} returned (at {path}), expected arrays; a class of sums is a "
                "NamedTuple or a flax.struct.dataclass"
            )


def _check_same_state(before: ModelState, after: ModelState) -> None:
    """Checks that the loss returned a model state of the same structure, shapes and types."""
    fault = first_difference(before, after)
    if fault is not None:
        raise TypeError(f"loss: got a model_state with {fault} as init returned it")


def _check_metrics(
    metrics: Metrics, batch: Batch, traced: Callable[[Batch], Any], train: bool
) -> dict[str, tuple[int, ...]]:
    """Checks that the metrics are sums over the rows of the batch; returns the shapes of their values by name.

    Args:
        metrics: the shapes of the metrics.
        batch: the batch that they were traced with.
        traced: gives what the loss returns for another batch, as shapes.
        train: see `check_metric`.
    """
    shapes = {name: check_metric(name, metric, train) for name, metric in metrics.items()}
    if STREAMS not in batch and any(leaf.shape for leaf in jax.tree.leaves(metrics)):
        try:
            doubled = traced(with_rows(batch, 2))[1][1]
        except Exception:  # a model of one number of rows, such as a stateful one, cannot be compared
            return shapes
        check_same_shapes(metrics, row_count(batch), doubled)
    return shapes
