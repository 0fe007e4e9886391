"""Metrics that only an evaluation has are added to those of the loss."""

import dataclasses

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate
from dlcore.training.options import OPTIONAL_FUNCTIONS
from tests.helpers import plain_toy

CONFIG = plain_toy.Config()
TOY = plain_toy.experiment(CONFIG)


def largest(params, model_state, batch):
    return {"bias": dl.metrics.Average.of(batch["lengths"] * params["bias"][0], batch.get("mask"))}


def test_an_evaluation_has_the_metrics_of_both_and_the_scores():
    experiment = dataclasses.replace(
        TOY, eval_metrics=largest, scores=lambda params, model_state: {"score": params["bias"].sum()}
    )
    check_model(experiment)
    engine = Engine(experiment, CONFIG)
    state = plain_toy.make_state(engine)
    values, plain = evaluate(engine, state), evaluate(Engine(TOY, CONFIG), state)
    assert values.pop("score") == pytest.approx(float(state.params["bias"].sum()))
    expected = plain_toy.arrays()["lengths"].mean() * float(state.params["bias"][0])
    assert values.pop("bias") == pytest.approx(expected, rel=1e-5)
    assert values == plain


def test_training_has_the_metrics_of_the_loss_alone():
    experiment = dataclasses.replace(TOY, eval_metrics=largest)
    assert set(Engine(experiment, CONFIG).abstract_state.metrics) == set(
        Engine(TOY, CONFIG).abstract_state.metrics
    )


def test_such_a_metric_can_decide_which_checkpoint_is_the_best():
    check_model(dataclasses.replace(TOY, eval_metrics=largest, best="bias"))


def test_two_metrics_of_one_name_are_refused():
    twice = lambda params, model_state, batch: {"loss": dl.metrics.Average.of(batch["lengths"])}
    with pytest.raises(ValueError, match="eval_metrics: got 'loss', expected another name"):
        check_model(dataclasses.replace(TOY, eval_metrics=twice))
    engine = Engine(dataclasses.replace(TOY, scores=lambda params, model_state: {"loss": 1.0}), CONFIG)
    with pytest.raises(ValueError, match="scores: got 'loss', expected another name"):
        evaluate(engine, plain_toy.make_state(engine))


def test_scores_get_whole_parameters_of_the_moving_average():
    seen = []
    experiment = dataclasses.replace(TOY, scores=lambda *arguments: seen.append(arguments) or {})
    engine = Engine(experiment, CONFIG)
    state = plain_toy.make_state(engine)
    average = jax.tree.map(lambda leaf: leaf + 1, state.params)
    evaluate(engine, state.replace(average=average))
    ((params, model_state),) = seen
    np.testing.assert_array_equal(params["weights"], average["weights"])
    assert set(model_state) == {"mean"}


@pytest.mark.parametrize("name", OPTIONAL_FUNCTIONS)
def test_optional_functions_are_functions(name):
    with pytest.raises(TypeError, match=rf"{name}: got 3, expected a function such as {name}\("):
        dataclasses.replace(TOY, **{name: 3})
