"""Evaluation over padded batches equals the evaluation of the whole set at once."""

import dataclasses

import numpy as np
import pytest

import dlcore as dl
from dlcore.train.engine import Engine
from dlcore.train.evaluation import evaluate, read_sums
from dlcore.train.metrics import Average
from tests.helpers import plain_toy

ARRAYS = plain_toy.arrays()


def with_eval_data(data):
    config = plain_toy.Config()
    return Engine(dataclasses.replace(plain_toy.experiment(config), eval_data=data), config)


def test_every_example_counts_once_whatever_the_batch_size():
    state = plain_toy.make_state(with_eval_data([]))
    errors = ARRAYS["inputs"] @ np.float64(state.params["weights"]) - ARRAYS["targets"]
    expected = (errors[np.arange(plain_toy.STEPS) < ARRAYS["lengths"][:, None]] ** 2).mean()
    for batch_size in (7, 40, 100):
        data, beats = dl.data.PaddedBatches(ARRAYS, batch_size), []
        values = evaluate(with_eval_data(data), state, lambda beats=beats: beats.append(1))
        assert values == {"loss": pytest.approx(expected, rel=1e-5)}
        assert len(beats) == len(data)


def test_the_moving_average_is_evaluated():
    engine = with_eval_data([{name: field[:8] for name, field in ARRAYS.items()}])
    state = plain_toy.make_state(engine)
    other = {"bias": state.params["bias"] + 1, "weights": state.params["weights"]}
    averaged, replaced = (
        evaluate(engine, state.replace(**fields)) for fields in ({"average": other}, {"params": other})
    )
    assert averaged == replaced != evaluate(engine, state)


def test_an_empty_evaluation_set_is_refused():
    engine = with_eval_data([])
    with pytest.raises(ValueError, match="eval_data: got no batch"):
        evaluate(engine, plain_toy.make_state(engine))


def test_sums_are_read_as_python_numbers_sorted_by_name():
    values = read_sums(
        {"loss": Average(np.float32(3), np.float32(2)), "a": Average(np.float32(0), np.float32(0))}
    )
    assert list(values.items()) == [("a", 0.0), ("loss", 1.5)]
    assert {type(value) for value in values.values()} == {float}
