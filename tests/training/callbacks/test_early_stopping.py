"""Early stopping counts as a loop by hand does, also if it is restored at any evaluation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dlcore.training.callbacks.callback import Callback, Start, Stop
from dlcore.training.callbacks.early_stopping import EarlyStopping
from dlcore.training.config import Config


def stopped_at(stopping, values, restore_at=None):
    """The index of the evaluation at which it stops; None if it does not. It is replaced by a new one at one index."""
    for index, value in enumerate(values):
        if index == restore_at:
            state = json.loads(json.dumps(stopping.state()))
            stopping = make(**stopping.arguments)
            stopping.restore(state)
        try:
            stopping.on_evaluation(index, {"score": value, "other": 0.0})
        except Stop:
            return index
    return None


def make(**arguments):
    stopping = EarlyStopping("score", **arguments)
    stopping.arguments = arguments
    return stopping


def by_hand(values, patience, min_change=0.0, lower_is_better=False):
    """The last index of the first window of ``patience`` values that are no better than the best before it."""
    signed = -np.array(values) if lower_is_better else np.array(values)
    best, best_index = -np.inf, -1
    for index, value in enumerate(signed):
        if value > best and (best_index < 0 or value - best >= min_change):
            best, best_index = value, index
        if index - max(best_index, -1) >= patience:
            return index
    return None


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("min_change", [0.0, 0.25])
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_it_stops_where_a_loop_by_hand_stops_also_after_a_restore(patience, min_change, lower_is_better):
    generator = np.random.default_rng(patience)
    settings = {"patience": patience, "min_change": min_change, "lower_is_better": lower_is_better}
    for _ in range(10):
        values = (generator.integers(0, 9, 20) / 8).tolist()  # exact differences, and equal values
        expected = by_hand(values, **settings)
        assert stopped_at(make(**settings), values) == expected
        for index in (0, 1, 3, 8):
            assert stopped_at(make(**settings), values, restore_at=index) == expected


def test_infinite_values_and_nan():
    assert stopped_at(make(patience=2), [math.nan, math.nan, 1.0]) == 1
    assert stopped_at(make(patience=2), [-math.inf, 1.0, math.inf, math.inf, math.nan], restore_at=3) == 4
    assert stopped_at(make(patience=3, lower_is_better=True), [math.inf, 3.0, 2.0, 1.0]) is None


def test_a_second_run_begins_anew():
    stopping = make(patience=1)
    assert stopped_at(stopping, [1.0, 1.0]) == 1
    stopping.on_start(Start(Path("run"), 0, Config()))
    assert stopped_at(stopping, [0.5, 0.6]) is None


def test_the_reason_names_the_metric_and_the_best():
    stopping = make(patience=2)
    stopping.on_evaluation(10, {"score": 0.5})
    stopping.on_evaluation(20, {"score": 0.25})
    with pytest.raises(
        Stop, match=r"^score has not become higher in 2 evaluations; the best was 0.5 at step 10$"
    ):
        stopping.on_evaluation(30, {"score": 0.5})


def test_a_metric_that_the_evaluation_does_not_have_is_named():
    with pytest.raises(
        ValueError, match=r"metric: got 'score', expected one of the .* metrics: dev/loss, loss"
    ):
        make(patience=1).on_evaluation(1, {"dev/loss": 1.0, "loss": 2.0})
    with pytest.raises(
        ValueError, match="metric: got 'score', which has several values, expected one number"
    ):
        make(patience=1).on_evaluation(1, {"score": [0.5, 1.0]})


@pytest.mark.parametrize(
    ("metric", "lower", "falls"),
    [
        ("dev/loss", None, True),
        ("mean_squared_error", None, True),
        ("f1", None, False),
        ("loss", False, False),
        ("f1", True, True),
    ],
)
def test_a_loss_falls_and_a_score_rises_unless_the_argument_says_otherwise(metric, lower, falls):
    stopping = EarlyStopping(metric, 1, lower_is_better=lower)
    stopping.on_evaluation(1, {metric: 0.5})
    stopping.on_evaluation(2, {metric: 0.4 if falls else 0.6})
    with pytest.raises(Stop, match="the best was"):
        stopping.on_evaluation(3, {metric: 0.7 if falls else 0.1})


def test_a_method_that_no_run_calls_is_refused():
    with pytest.raises(TypeError, match="Mine: got a method on_eval, expected one of on_start, on_row"):
        type("Mine", (Callback,), {"on_eval": lambda self, step, values: None})
