"""Evaluation over padded batches equals evaluation of the whole set at once."""

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.train.evaluation import evaluate
from dlcore.train.optimizer import make_optimizer
from dlcore.train.state import initial_state
from dlcore.train.step import make_eval_step, make_train_step


def test_every_example_counts_once_whatever_the_batch_size(make_toy):
    toy = make_toy()
    optimizer = make_optimizer(toy.config.optimizer, 1)
    state = initial_state(toy.experiment, optimizer, 0, make_train_step(toy.experiment, optimizer, 0))
    key = jax.random.key(0)
    _, (_, whole) = toy.experiment.loss(state.params, state.model_state, toy.arrays, key, False)
    eval_step = make_eval_step(toy.experiment)
    for batch_size in (1, 7, 16, 40, 100):
        values = evaluate(eval_step, state, dl.data.PaddedBatches(toy.arrays, batch_size))
        for name, value in values.items():
            assert value == pytest.approx(float(whole[name].value()), rel=1e-5)
    with pytest.raises(ValueError, match="eval_data: got no batch"):
        evaluate(eval_step, state, [])


def test_a_mask_hides_nan():
    logits, labels = np.array([[2.0, 0.0], [np.nan, np.nan]], np.float32), np.array([0, 0])
    loss, metrics = dl.losses.classification(logits, {"labels": labels, "mask": np.array([True, False])})
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-6)
    assert float(metrics["accuracy"].value()) == 1
