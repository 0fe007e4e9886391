"""The contract between an experiment and what trains it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model, config_in_steps
from dlcore.train.metrics import Average


def test_an_unknown_deciding_metric_is_refused(make_toy):
    check_model(make_toy().experiment)
    wrong = dataclasses.replace(make_toy().experiment, best="f1")
    with pytest.raises(ValueError, match="best: got 'f1', expected one of the metrics: accuracy, loss"):
        check_model(wrong)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eval_data": []}, ValueError, "eval_data: got no batch"),
        ({"eval_data": iter([{}])}, TypeError, "eval_data: got an iterator, which can be walked once"),
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
def test_what_breaks_the_contract_is_refused(make_toy, change, error, message):
    with pytest.raises(error, match=message):
        check_model(dataclasses.replace(make_toy().experiment, **change))


def test_checking_computes_nothing(make_toy):
    def never(value):
        raise AssertionError("computed")

    toy = make_toy()

    def loss(*arguments, **named):
        value, aux = toy.experiment.loss(*arguments, **named)
        return jax.pure_callback(never, value, value), aux

    check_model(dataclasses.replace(toy.experiment, loss=loss))


def test_durations_are_steps_of_the_experiments_own_data(make_toy):
    toy = make_toy(steps=dl.Duration("2epochs"), eval_every=dl.Duration("50%"))
    assert (toy.config.train.batch_size, toy.config.examples) == (8, 40)
    config = config_in_steps(toy.config, toy.experiment)
    assert (config.train.steps, config.train.eval_every) == (10, 5)
    silent = dataclasses.replace(toy.experiment, train_data=[toy.experiment.train_data[0]] * 10)
    with pytest.raises(ValueError, match=r"--config\.train\.steps: got '2epochs'"):
        config_in_steps(toy.config, silent)


def test_settings_that_do_not_go_together_are_refused(make_toy):
    toy = make_toy()
    toy.config.optimizer.warmup_steps = 13
    with pytest.raises(ValueError, match="warmup_steps: got 13"):
        Engine(toy.experiment, toy.config)


def test_from_flax_passes_lengths_and_keeps_what_is_no_parameter(make_toy):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, inputs, lengths, *, train):
            calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
            if train:
                calls.value += 1
            return nn.Dense(1)(inputs).sum((1, 2)) * lengths

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
    for train, calls in ((True, 1), (False, 0)):
        _, (after, _) = experiment.loss(params, model_state, batch, jax.random.key(0), train)
        assert int(after["counters"]["calls"]) == calls


def test_a_model_in_plain_jax_trains(tmp_path):
    """Least squares without a module: the loop sees functions only."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 3)).astype(np.float32)
    arrays = {"inputs": inputs, "targets": inputs @ np.array([1.0, -2.0, 0.5], np.float32)}

    def loss(params, model_state, batch, rng, train):
        errors = (batch["inputs"] @ params["weights"] - batch["targets"]) ** 2
        mean = Average.of(errors, batch.get("mask"))
        return mean.value(), (model_state, {"loss": mean})

    experiment = dl.Experiment(
        init=lambda rng, batch: ({"weights": jnp.zeros(3)}, {}),
        loss=loss,
        train_data=dl.data.ShuffledBatches(arrays, 16, seed=0),
        eval_data=dl.data.PaddedBatches(arrays, 10),
        best="loss",
        lower_is_better=True,
    )
    config = dl.Config(train=dl.TrainConfig(steps=300), optimizer=dl.OptimizerConfig("sgd", 0.1))
    trained = loop.train(Engine(experiment, config), tmp_path)
    np.testing.assert_allclose(trained.state.params["weights"], [1, -2, 0.5], atol=1e-4)
    assert trained.evaluation["loss"] < 1e-6
