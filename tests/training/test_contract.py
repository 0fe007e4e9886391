"""An experiment that breaks its contract is refused before anything is computed, in words that name what is wrong."""

import dataclasses
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from dlcore.training.metrics import Average
from tests.helpers import plain_toy

TOY = plain_toy.experiment(plain_toy.Config())
BATCH = TOY.train_data[0]


def test_an_unknown_best_metric_is_refused():
    check_model(TOY)
    with pytest.raises(ValueError, match="best: got 'f1', expected one of the metrics: loss"):
        check_model(dataclasses.replace(TOY, best="f1"))


def returning(change):
    """The toy with a loss whose returned values are changed: ``change(loss, model_state, metrics)``."""

    def loss(*arguments):
        value, (model_state, metrics) = TOY.loss(*arguments)
        return change(value, model_state, metrics)

    return {"loss": loss}


class Quotient(NamedTuple):
    """A metric that the tests give a value() of every kind."""

    total: jax.Array

    def value(self):
        return self.read(self.total)


def with_value(read, total=None):
    made = type("Made", (Quotient,), {"read": staticmethod(read)})
    return made(jnp.ones(()) if total is None else total)


def with_rows(metric):
    """The toy with the metric f1, which ``metric(rows)`` makes of one number for each row."""

    def loss(params, model_state, batch, rng, train):
        value, (model_state, metrics) = TOY.loss(params, model_state, batch, rng, train)
        return value, (model_state, {**metrics, "f1": metric(batch["targets"].sum((1, 2)))})

    return {"loss": loss}


class NoTree:
    def value(self):
        return 0.0


BROKEN = {
    "no evaluation batch": ({"eval_data": []}, ValueError, "eval_data: got no batch"),
    "an iterator": (
        {"eval_data": iter([{}])},
        TypeError,
        "eval_data: got an iterator, which can be iterated only once",
    ),
    "no evaluation set by name": ({"eval_data": {}}, ValueError, "eval_data: got no evaluation set"),
    "an empty set by name": (
        {"eval_data": {"dev": [BATCH], "test": []}},
        ValueError,
        r"eval_data\['test'\]: got no batch",
    ),
    "a batch in place of a set": (
        {"eval_data": {"dev": BATCH}},
        TypeError,
        r"eval_data\['dev'\]: got one batch, expected a list of batches",
    ),
    "a name with a slash": (
        {"eval_data": {"dev/a": [BATCH]}},
        ValueError,
        "eval_data: got 'dev/a', expected a name",
    ),
    "a name that is no text": ({"eval_data": {3: [BATCH]}}, TypeError, "eval_data: got 3, expected names"),
    "an endless evaluation": (
        {"eval_data": TOY.train_data},
        TypeError,
        "eval_data: got ShuffledBatches, which has no end",
    ),
    "no evaluation set": ({"eval_data": None}, TypeError, "eval_data: got NoneType"),
    "one evaluation batch": (
        {"eval_data": BATCH},
        TypeError,
        "eval_data: got one batch, expected a list of batches",
    ),
    "an empty batch": ({"eval_data": [{}]}, ValueError, "eval_data: got fields of lengths {}"),
    "a batch of no rows": (
        {"eval_data": [{name: field[:0] for name, field in BATCH.items()}]},
        ValueError,
        "eval_data: got fields of lengths .*'inputs': 0",
    ),
    "several row counts": (
        {"eval_data": [{**BATCH, "lengths": BATCH["lengths"][:3]}]},
        ValueError,
        "eval_data: got fields of lengths .*'lengths': 3",
    ),
    "lists": (
        {"train_data": [{"inputs": [1, 2]}]},
        TypeError,
        "train_data: inputs: got list, expected an array",
    ),
    "no training set": (
        {"train_data": None},
        TypeError,
        "train_data: got NoneType, expected train_data.step",
    ),
    "a generator": ({"train_data": (batch for batch in ())}, TypeError, "train_data: got generator"),
    "init is no function": ({"init": 3}, TypeError, "init: got 3, expected a function"),
    "init takes one argument": (
        {"init": lambda rng: ({}, {})},
        TypeError,
        r"init: got init\(rng\), expected",
    ),
    "init returns variables": (
        {"init": lambda rng, batch: {"params": jnp.ones(2), "batch_stats": jnp.ones(2)}},
        TypeError,
        "init: got dict returned, expected params, model_state",
    ),
    "init returns three": ({"init": lambda rng, batch: ({}, {}, {})}, TypeError, "init: got 3 values"),
    "init returns a vector": (
        {"init": lambda rng, batch: jnp.ones(2)},
        TypeError,
        r"init: got an array of shape \(2,\) returned",
    ),
    "init returns an int": ({"init": lambda rng, batch: 3}, TypeError, "init: got int returned"),
    "init returns text": (
        {"init": lambda rng, batch: ({"w": "x"}, {})},
        TypeError,
        "init: got str returned .at 0/w",
    ),
    "integer parameters": (
        {"init": lambda rng, batch: ({"w": jnp.ones(2, int)}, {})},
        TypeError,
        "init: got params/w of type int32, expected floating point",
    ),
    "loss is no function": ({"loss": None}, TypeError, "loss: got None, expected a function"),
    "no train argument": (
        {"loss": lambda params, model_state, batch, rng: None},
        TypeError,
        r"loss: got loss\(params, model_state, batch, rng\), expected a function",
    ),
    "the loss alone": (
        {"loss": lambda *a: jnp.zeros(())},
        TypeError,
        "loss: got .* expected loss, .model_state, metrics",
    ),
    "three values": (returning(lambda value, *rest: (value, *rest)), TypeError, "loss: got 3 values"),
    "numbers as metrics": (
        {"loss": lambda *a: (0.0, ({}, {"loss": 0.0}))},
        TypeError,
        "expected a sum that has a value",
    ),
    "a list of metrics": (
        returning(lambda value, state, metrics: (value, (state, list(metrics)))),
        TypeError,
        "with a dict of metrics",
    ),
    "a metric that is no tree": (
        returning(lambda value, state, metrics: (value, (state, {**metrics, "f1": NoTree()}))),
        TypeError,
        "loss: got NoTree returned .at 1/1/f1",
    ),
    "a vector as loss": (
        returning(lambda value, state, metrics: (value * jnp.ones(8), (state, metrics))),
        TypeError,
        r"loss: got float32 of shape \(8,\) as the loss, expected a floating point scalar",
    ),
    "an integer loss": (
        returning(lambda value, state, metrics: (jnp.int32(3), (state, metrics))),
        TypeError,
        r"loss: got int32 of shape \(\) as the loss",
    ),
    "another state": (
        returning(lambda value, state, metrics: (value, ({**state, "more": jnp.ones(2)}, metrics))),
        TypeError,
        r"loss: got a model_state with float32\[2\] at more, expected nothing",
    ),
    "a state of another type": (
        returning(lambda value, state, metrics: (value, ({"mean": jnp.int32(1)}, metrics))),
        TypeError,
        r"model_state with int32\[\] at mean, expected float32\[\] as init",
    ),
    "a state of another container": (
        returning(lambda value, state, metrics: (value, (flax.core.freeze(state), metrics))),
        TypeError,
        "loss: got a model_state with the structure .*FrozenDict",
    ),
    "no state": (
        returning(lambda value, state, metrics: (value, ({}, metrics))),
        TypeError,
        "nothing at mean",
    ),
    "a metric whose name is a number": (
        returning(lambda value, state, metrics: (value, (state, {**metrics, 3: Average.of(value)}))),
        TypeError,
        "loss: got 3, expected metrics whose names are text",
    ),
    "early stopping by another metric": (
        {"callbacks": [dl.callbacks.EarlyStopping("accuracy", patience=1)]},
        ValueError,
        "EarlyStopping: metric: got 'accuracy', expected one of the metrics: loss",
    ),
    "a name of the run": (
        returning(
            lambda value, state, metrics: (value, (state, {**metrics, "gradient_norm": Average.of(value)}))
        ),
        ValueError,
        "loss: got a metric 'gradient_norm', expected another name",
    ),
    "a value that is text": (
        returning(lambda value, state, metrics: (value, (state, {"loss": with_value(lambda x: "a")}))),
        TypeError,
        "loss: got a metric loss whose value.. cannot be read from sums of 1 .TypeError: value: got <U1",
    ),
    "a value that raises": (
        returning(lambda value, state, metrics: (value, (state, {"loss": with_value(lambda x: x["a"])}))),
        TypeError,
        "loss: got a metric loss whose value.. cannot be read from sums of 1 .IndexError",
    ),
    "an array as the best": (
        returning(
            lambda value, state, metrics: (value, (state, {"loss": with_value(lambda x: np.ones(3) * x)}))
        ),
        ValueError,
        r"best: got 'loss', whose value is an array of shape \(3,\), expected one of the metrics: .none.",
    ),
    "a sum for each row": (
        with_rows(lambda rows: with_value(lambda x: x.sum(), rows)),
        TypeError,
        r"loss: got a metric with float32\[8\] at f1/total for 8 rows and float32\[16\] for 16, expected sums over",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_experiment_that_breaks_the_contract_is_refused(case):
    change, error, message = BROKEN[case]
    with pytest.raises(error, match=message):
        check_model(dataclasses.replace(TOY, **change))


def with_sets(best, **sets):
    return dataclasses.replace(TOY, eval_data=sets, best=best)


def test_the_best_metric_names_its_evaluation_set():
    sets = {"dev": [BATCH], "test": [BATCH]}
    check_model(with_sets("test/loss", **sets))
    for best in ("loss", "train/loss", "dev", "dev/accuracy"):
        with pytest.raises(
            ValueError,
            match=f"best: got '{best}', expected one of the metrics: dev/loss, test/loss; one number",
        ):
            check_model(with_sets(best, **sets))


def test_sets_whose_batches_have_the_same_shapes_are_traced_once():
    traced = []

    def loss(params, model_state, batch, rng, train):
        traced.append((train, batch["inputs"].shape))
        return TOY.loss(params, model_state, batch, rng, train)

    half = {name: field[:4] for name, field in BATCH.items()}
    check_model(dataclasses.replace(with_sets("a/loss", a=[BATCH], b=[BATCH], c=[half]), loss=loss))
    shapes = [shape for train, shape in traced if not train]
    assert shapes == [BATCH["inputs"].shape, half["inputs"].shape]


def test_metrics_of_training_and_evaluation_may_differ():
    """As with a regularizer, which only training measures; the best metric is one of the evaluation."""

    def loss(params, model_state, batch, rng, train):
        value, (model_state, metrics) = TOY.loss(params, model_state, batch, rng, train)
        name = "penalty" if train else "f1"
        return value, (model_state, {**metrics, name: Average.of(value)})

    check_model(dataclasses.replace(TOY, loss=loss, best="f1"))
    with pytest.raises(ValueError, match="best: got 'penalty', expected one of the metrics: f1, loss"):
        check_model(dataclasses.replace(TOY, loss=loss, best="penalty"))


def test_a_value_may_use_numpy_and_jax_numpy():
    for read in (np.sqrt, jnp.sqrt, float):
        metric = with_value(read)
        check_model(
            dataclasses.replace(
                TOY,
                **returning(lambda value, state, metrics, metric=metric: (value, (state, {"loss": metric}))),
            )
        )


def test_sums_of_any_shape_are_taken():
    change = with_rows(lambda rows: with_value(lambda x: x, jnp.outer(rows[:3], rows[:3])))
    check_model(dataclasses.replace(TOY, **change))


def test_a_model_of_one_number_of_rows_is_checked_as_far_as_possible():
    """A stateful model cannot be traced with twice as many rows."""
    rows = len(BATCH["inputs"])

    def loss(params, model_state, batch, rng, train):
        value, (model_state, metrics) = TOY.loss(params, model_state, batch, rng, train)
        sums = batch["targets"].sum((1, 2)) + jnp.ones(rows)
        return value, (model_state, {**metrics, "f1": with_value(lambda x: x, sums)})

    check_model(dataclasses.replace(TOY, loss=loss, eval_data=[BATCH]))


def test_a_missing_field_is_named():
    batch = {"inputs": np.ones((2, 3), np.float32)}
    experiment = dl.Experiment(
        init=lambda rng, batch: ({"w": jnp.ones(3)}, {}),
        loss=lambda params, state, batch, rng, train: (lambda value, metrics: (value, (state, metrics)))(
            *dl.losses.classification(batch["inputs"] * params["w"], batch)
        ),
        train_data=[batch],
        eval_data=[batch],
    )
    with pytest.raises(
        ValueError, match="labels: got a batch with the fields inputs, expected one with the field labels"
    ):
        check_model(experiment)


def test_checking_computes_nothing():
    def never(value):
        raise AssertionError("computed")

    def loss(*arguments, **named):
        value, aux = TOY.loss(*arguments, **named)
        return jax.pure_callback(never, value, value), aux

    check_model(dataclasses.replace(TOY, loss=loss))
