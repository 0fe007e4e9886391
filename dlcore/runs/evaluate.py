"""Evaluates a trained model on its evaluation set or on other data."""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.arrays import PaddedBatches
from dlcore.data.batch import row_count
from dlcore.runs.load import as_model
from dlcore.runs.model import TrainedModel
from dlcore.runs.train import Trained
from dlcore.training.contract import check_set_names
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate as evaluate_state
from dlcore.training.experiment import EvalData
from dlcore.utils.checks import shown


def evaluate(
    model: TrainedModel | Trained | str | Path,
    data: Mapping[str, np.ndarray] | EvalData | None = None,
) -> dict[str, Any]:
    """The metrics of a trained model: every example counts once, as in training.

    Args:
        model: what `train` or `load` returned, or the folder of a run, which means its best checkpoint.
        data: the batches to evaluate, or a dict of arrays ``[N, ...]`` by field, which is cut into batches of
            ``train.eval_batch_size`` rows, or a dict of several such sets by name. None: the experiment's evaluation
            data.

    Returns:
        The values by the names of the metrics: floats, and nested lists of floats for arrays.

    Raises:
        TypeError: an argument has another type.
        ValueError: there is no batch, its fields have different numbers of rows, or the name of a set is empty or has
            a slash; or as in `load`.
        Exception: whatever the model or its loss raises if a batch does not fit.
        NonFiniteError: the loss, or the metric that decides which checkpoint is the best, is NaN.
    """
    model = as_model(model)
    engine = model.run.engine
    if data is not None:
        engine = _with_data(engine, _batches("data", data, model.config.train.eval_batch_size))
    return evaluate_state(engine, model.state)


def _with_data(engine: Engine, data: EvalData) -> Engine:
    """An engine that evaluates these batches in place of the experiment's, with the same compiled programs.

    It has no scores, which are those of the experiment's own data.
    """
    _ = engine.eval_step  # both engines have it
    other = copy.copy(engine)
    other.experiment = dataclasses.replace(engine.experiment, eval_data=data, scores=None)
    return other


def _batches(name: str, data: Any, batch_size: int) -> Any:
    """The batches that the argument ``data`` means, or a dict of such batches; ``name`` is what errors call it."""
    if isinstance(data, Mapping):
        if data and all(map(_is_set, data.values())):
            check_set_names(name, data)
            return {
                part: _batches(f"{name}[{part!r}]", eval_set, batch_size) for part, eval_set in data.items()
            }
        row_count(data, name)
        return PaddedBatches(data, batch_size)
    if not isinstance(data, Iterable) or isinstance(data, str) or hasattr(data, "shape"):
        raise TypeError(f"{name}: got {shown(data)}, expected batches or a dict of arrays")
    if not isinstance(data, Iterator):
        if (batch := next(iter(data), None)) is None:
            raise ValueError(f"{name}: got no batch, expected at least one")
        row_count(batch, name)
    return data


def _is_set(value: Any) -> bool:
    """True for an evaluation set, of batches or of arrays by field; False for an array."""
    if isinstance(value, Mapping):
        return True
    batches = isinstance(value, Iterable) and not hasattr(value, "shape") and not isinstance(value, Iterator)
    first = next(iter(value), None) if batches else 0
    return first is None or isinstance(first, Mapping)
