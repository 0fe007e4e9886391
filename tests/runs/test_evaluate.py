"""The metrics of a trained model on any data."""

import dataclasses

import numpy as np
import pytest

import dlcore as dl
from dlcore.training.faults.nonfinite import NonFiniteError
from tests.helpers import plain_toy


def loss_of(params, arrays):
    """The mean over all valid numbers, in float64."""
    errors = (arrays["inputs"].astype(float) @ params["weights"] + params["bias"] - arrays["targets"]) ** 2
    return float(errors[np.arange(plain_toy.STEPS) < arrays["lengths"][:, None]].mean())


def test_the_evaluation_set_gives_the_evaluation_of_the_training(trained):
    assert dl.evaluate(trained) == trained.evaluation
    assert dl.evaluate(dl.load(trained.folder, "newest")) == trained.evaluation
    at_6 = dl.evaluate(dl.load(trained.folder, 6))
    assert at_6["loss"] == trained.metrics["eval/loss"].values[0]
    assert dl.evaluate(trained.folder)["loss"] == min(trained.metrics["eval/loss"].values)


def test_other_arrays_and_batches_count_every_row_once(trained):
    """33 rows are four batches of 10, the last one padded."""
    rows = {name: field[:33] for name, field in plain_toy.arrays().items()}
    rows["targets"] = rows["targets"] + 1
    expected = pytest.approx(loss_of(trained.model.params, rows), rel=1e-5)
    assert dl.evaluate(trained, rows) == {"loss": expected}
    parts = [{name: field[part] for name, field in rows.items()} for part in (slice(0, 20), slice(20, 33))]
    assert dl.evaluate(trained, parts) == {"loss": expected}
    assert dl.evaluate(trained, iter(parts)) == {"loss": expected}
    assert dl.evaluate(trained) == trained.evaluation


def test_a_metric_that_is_nan_is_an_error_that_names_the_batch(trained):
    rows = {**plain_toy.arrays()}
    rows["targets"] = np.where(np.arange(len(rows["targets"]))[:, None, None] == 25, np.nan, rows["targets"])
    with pytest.raises(
        NonFiniteError, match="the evaluation's loss is NaN, first in batch 2 of eval_data: targets"
    ):
        dl.evaluate(trained, rows)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (3, TypeError, "data: got 3, expected batches or a dict of arrays"),
        ("x", TypeError, "data: got 'x', expected batches"),
        ([], ValueError, "data: got no batch"),
        ({"dev": []}, ValueError, r"data\['dev'\]: got no batch"),
        ({"a/b": {"inputs": np.ones(2)}}, ValueError, "data: got 'a/b', expected a name without a slash"),
        ([3], TypeError, "data: got int, expected a dict of arrays"),
        ({}, ValueError, "data: got fields of lengths {}"),
        ({"inputs": [1.0]}, TypeError, "data: inputs: got list, expected an array"),
        ({"inputs": np.ones(2), "targets": np.ones(3)}, ValueError, "data: got fields of lengths"),
    ],
)
def test_bad_data_are_named(trained, data, error, message):
    with pytest.raises(error, match=f"^{message}"):
        dl.evaluate(trained, data)


def test_what_is_no_model_is_named(trained):
    with pytest.raises(TypeError, match=r"^model: got None, expected what"):
        dl.evaluate(None)
    other = dataclasses.replace(trained.model, state=trained.state)
    assert dl.evaluate(other) == trained.evaluation


def test_several_sets_have_names(trained):
    arrays = {name: field[:6] for name, field in plain_toy.arrays().items()}
    found = dl.evaluate(trained, {"dev": arrays, "test": list(dl.data.PaddedBatches(arrays, 6))})
    assert found == {f"{name}/loss": dl.evaluate(trained, arrays)["loss"] for name in ("dev", "test")}
