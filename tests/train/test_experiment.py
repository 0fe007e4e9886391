"""The contract between an experiment and training."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model, resolve_config
from dlcore.train.metrics import Average
from tests.helpers import plain_toy

TOY = plain_toy.experiment(plain_toy.Config())


def test_an_unknown_best_metric_is_refused():
    check_model(TOY)
    with pytest.raises(ValueError, match="best: got 'f1', expected one of the metrics: loss"):
        check_model(dataclasses.replace(TOY, best="f1"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eval_data": []}, ValueError, "eval_data: got no batch"),
        ({"eval_data": iter([{}])}, TypeError, "eval_data: got an iterator, which can be iterated only once"),
        (
            {"loss": lambda *a, **b: jnp.zeros(())},
            TypeError,
            "loss: got .* expected loss, .model_state, metrics",
        ),
        (
            {"loss": lambda *a, **b: (0.0, ({}, {"loss": 0.0}))},
            TypeError,
            "each metric a sum that has a value",
        ),
    ],
)
def test_an_experiment_that_breaks_the_contract_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        check_model(dataclasses.replace(TOY, **change))


def test_checking_computes_nothing():
    def never(value):
        raise AssertionError("computed")

    def loss(*arguments, **named):
        value, aux = TOY.loss(*arguments, **named)
        return jax.pure_callback(never, value, value), aux

    check_model(dataclasses.replace(TOY, loss=loss))


def test_durations_are_steps_of_the_experiments_own_data():
    config = plain_toy.Config()
    config.train = dataclasses.replace(
        config.train, steps=dl.Duration("2epochs"), eval_every=dl.Duration("50%")
    )
    resolved = resolve_config(config, TOY)
    assert (resolved.train.steps, resolved.train.eval_every) == (10, 5)
    silent = dataclasses.replace(TOY, train_data=[TOY.train_data[0]] * 10)
    with pytest.raises(ValueError, match=r"--config\.train\.steps: got '2epochs'"):
        resolve_config(config, silent)


class Model(nn.Module):
    """A model with lengths, optional resets, and a variable that is not a parameter."""

    @nn.compact
    def __call__(self, inputs, lengths, *, resets=None, train):
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        if train:
            calls.value += 1 if resets is None else 10
        return nn.Dense(1)(inputs).sum((1, 2)) * lengths


def test_from_flax_passes_the_batchs_fields_and_keeps_the_model_state():
    batch = {"inputs": jnp.ones((2, 3, 4)), "lengths": jnp.array([1, 3])}
    experiment = dl.Experiment.from_flax(
        Model(),
        loss=lambda outputs, batch: (outputs.mean(), {"loss": Average.of(outputs)}),
        train_data=[batch],
        eval_data=[batch],
        best="loss",
    )
    check_model(experiment)
    params, model_state = experiment.init(jax.random.key(0), batch)
    assert set(params) == {"Dense_0"}
    with_resets = {**batch, "resets": jnp.array([True, False])}
    for fields, train, calls in ((batch, True, 1), (batch, False, 0), (with_resets, True, 10)):
        _, (after, _) = experiment.loss(params, model_state, fields, jax.random.key(0), train)
        assert int(after["counters"]["calls"]) == calls


def test_from_flax_takes_every_other_field_of_an_experiment_with_the_same_default():
    given = {
        "train_data": TOY.train_data,
        "eval_data": TOY.eval_data,
        "best": "loss",
        "lower_is_better": True,
        "figures": lambda params, model_state: {},
        "monitor": lambda params, model_state: {},
        "modes": {"greet": dict},
        "sharding_rules": {".*": ()},
    }
    fields = {field.name for field in dataclasses.fields(dl.Experiment)}
    assert set(given) == fields - {"init", "loss"}
    experiment = dl.Experiment.from_flax(Model(), loss=None, **given)
    for name, value in given.items():
        assert getattr(experiment, name) is value
    required = {name: given[name] for name in ("train_data", "eval_data")}
    by_default = dl.Experiment.from_flax(Model(), loss=None, **required)
    plain = dl.Experiment(init=None, loss=None, **required)
    for name in given:
        assert getattr(by_default, name) == getattr(plain, name)
    with pytest.raises(TypeError, match="bestt"):
        dl.Experiment.from_flax(Model(), loss=None, bestt="loss", **required)


def test_a_model_in_plain_jax_trains(tmp_path):
    """The toy is linear regression without noise: it must find the weights."""
    config = plain_toy.Config()
    config.train = dataclasses.replace(config.train, steps=200, log_every=200, eval_every=200)
    config.checkpoint.every = 200
    trained = loop.train(Engine(TOY, config), tmp_path)
    assert trained.evaluation["loss"] < 1e-6
    assert float(jnp.abs(trained.state.params["bias"] - 0.1).max()) < 1e-3
