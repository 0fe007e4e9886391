"""Evaluation over padded batches equals evaluation of the whole set at once."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.train.engine import Engine
from dlcore.train.evaluation import evaluate


def with_eval_data(toy, data):
    return Engine(dataclasses.replace(toy.experiment, eval_data=data), toy.config)


def test_every_example_counts_once_whatever_the_batch_size(make_toy):
    toy = make_toy()
    state = Engine(toy.experiment, toy.config).initial_state()
    key = jax.random.key(0)
    _, (_, whole) = toy.experiment.loss(state.params, state.model_state, toy.arrays, key, False)
    for batch_size in (1, 7, 16, 40, 100):
        data = dl.data.PaddedBatches(toy.arrays, batch_size)
        alive = []
        values = evaluate(with_eval_data(toy, data), state, functools.partial(alive.append, 1))
        assert len(alive) == len(data)
        for name, value in values.items():
            assert value == pytest.approx(float(whole[name].value()), rel=1e-5)
    with pytest.raises(ValueError, match="eval_data: got no batch"):
        evaluate(with_eval_data(toy, []), state)


def test_a_mask_hides_nan():
    logits, labels = np.array([[2.0, 0.0], [np.nan, np.nan]], np.float32), np.array([0, 0])
    loss, metrics = dl.losses.classification(logits, {"labels": labels, "mask": np.array([True, False])})
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-6)
    assert float(metrics["accuracy"].value()) == 1
