"""Checks that an experiment keeps its contract: traces its functions before anything is computed."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.batch import STREAMS, row_count
from dlcore.data.pipeline import batch_of
from dlcore.training.arguments import check_call, check_pair, describe
from dlcore.training.experiment import Batch, Experiment, Metrics, ModelState, Params
from dlcore.training.stream_evaluation import has_streams, initial_streams
from dlcore.utils.checks import check_instance
from dlcore.utils.trees import named_leaves

RESERVED = {
    True: {
        "gradient_norm",
        "gradient_norm_clipped",
        "clipped_fraction",
        "nonfinite_fraction",
        "learning_rate",
    },
    False: {"steps", "seconds", "folder"},
}
"""Names that no metric of training (True) or evaluation (False) may have, since the run gives them itself."""


def check_model(experiment: Experiment) -> None:
    """Checks an experiment by tracing its functions on a training and an evaluation batch; computes nothing.

    Raises:
        ValueError: ``best`` is not an evaluation metric, a metric has a name that the run gives itself, there is no
            evaluation batch, or the fields of a batch have different numbers of rows.
        TypeError: ``init``, ``loss`` or a batch are not what the contract says, or ``eval_data`` can be iterated only
            once or never ends.
        Exception: whatever the model raises if its settings do not fit the data.
    """
    train_batch, eval_batch = (
        _first_train_batch(experiment.train_data),
        _first_eval_batch(experiment.eval_data),
    )
    rng = jax.eval_shape(lambda: jax.random.key(0))
    params, model_state = _trace_init(experiment, rng, train_batch)
    _trace_loss(experiment, (params, model_state, train_batch, rng), train=True)
    if has_streams(model_state, eval_batch):
        streams = jax.eval_shape(functools.partial(initial_streams, experiment), eval_batch)
        eval_batch = {**eval_batch, STREAMS: streams}
    metrics = _trace_loss(experiment, (params, model_state, eval_batch, rng), train=False)
    if experiment.best not in metrics:
        raise ValueError(
            f"best: got {experiment.best!r}, expected one of the metrics: {', '.join(sorted(metrics)) or '(none)'}"
        )


def _first_train_batch(train_data: Any) -> Batch:
    batch = batch_of(train_data, 0, "train_data")
    row_count(batch, "train_data")
    return batch


def _first_eval_batch(eval_data: Any) -> Batch:
    expected = "expected a list of batches or PaddedBatches"
    if not hasattr(eval_data, "__iter__") and not hasattr(eval_data, "__len__"):
        raise TypeError(f"eval_data: got {type(eval_data).__name__}, which has no end, {expected}")
    if iter(eval_data) is eval_data:
        raise TypeError(f"eval_data: got an iterator, which can be iterated only once, {expected}")
    batch = next(iter(eval_data), None)
    if batch is None:
        raise ValueError("eval_data: got no batch, expected at least one")
    row_count(batch, "eval_data")
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


def _trace_loss(experiment: Experiment, arguments: tuple[Any, ...], train: bool) -> Metrics:
    """The shapes of the metrics that the loss returns."""

    def loss(params: Params, model_state: ModelState, batch: Batch, rng: Any) -> Any:
        returned = experiment.loss(params, model_state, batch, rng, train)
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
    for name, metric in metrics.items():
        check_instance("loss", name, str, "metrics whose names are text")
        if name in RESERVED[train]:
            raise ValueError(
                f"loss: got a metric {name!r}, expected another name; the run itself gives this one"
            )
        _check_value(name, metric)
    return metrics


def check_returned(returned: Any) -> None:
    """Checks that a loss function returned what the contract says: ``loss, (model_state, metrics)``.

    Raises:
        TypeError: it returned something else.
    """
    try:
        _, (_, metrics) = returned
        sums = all(hasattr(metric, "value") for metric in metrics.values())
    except (TypeError, ValueError, AttributeError):
        sums = False
    if not sums:
        raise TypeError(
            f"loss: got {describe(returned)} returned, expected loss, (model_state, metrics) with each metric a sum "
            "that has a value(), for instance dl.metrics.Average.of(values)"
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
    old, new = (
        {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in named_leaves(state).items()}
        for state in (before, after)
    )
    for path in (*old, *new):
        if old.get(path) != new.get(path):
            raise TypeError(
                f"loss: got a model_state with {new.get(path, 'nothing')} at {path}, expected "
                f"{old.get(path, 'nothing')} as init returned it"
            )
    made, returned = (str(jax.tree.structure(state)) for state in (before, after))
    if made != returned:
        raise TypeError(f"loss: got a model_state of the structure {returned}, expected that of init, {made}")


def _check_value(name: str, metric: Any) -> None:
    """Checks that ``value()`` reads a number from sums on the host, as the loop does."""
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), metric)
    try:
        value = ones.value()
        float(value)
        fault = "" if np.shape(value) == () else f"returns the shape {np.shape(value)}"
    except Exception as error:  # it is the experiment's own code
        fault = f"raises {type(error).__name__}: {error}"
    if fault:
        raise TypeError(f"loss: got a metric {name} whose value() {fault}, expected one number from its sums")
