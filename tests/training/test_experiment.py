"""The contract between an experiment and training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.training import loop
from dlcore.training.contract import check_model
from dlcore.training.engine import Engine
from dlcore.training.experiment import Options
from dlcore.training.metrics import Average
from tests.helpers import plain_toy
from tests.helpers.paths import ROOT

BATCH_INPUTS, ONES = np.ones((2, 3), np.float32), np.ones(2, np.int32)
TOY = plain_toy.experiment(plain_toy.Config())


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), "adam", lambda config: optax.sgd(0.1)])
def test_an_optimizer_is_a_function_of_the_config_and_the_steps(optimizer):
    with pytest.raises(TypeError, match=r"optimizer: got .*, expected a function"):
        dataclasses.replace(TOY, optimizer=optimizer)


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
    assert experiment.predict(params, model_state, batch).shape == (2,)


def nothing(*arguments):
    return None


def from_functions(**options):
    return dl.Experiment.from_functions(nothing, nothing, loss=nothing, **options)


def test_the_constructors_take_every_other_field_with_the_same_default():
    given = {
        "train_data": TOY.train_data,
        "eval_data": TOY.eval_data,
        "best": "loss",
        "lower_is_better": True,
        "eval_metrics": lambda params, model_state, batch: {},
        "scores": lambda params, model_state: {},
        "figures": lambda params, model_state: {},
        "generate": lambda model, texts: {},
        "files": {"vocabulary.json": "{}"},
        "monitor": lambda params, model_state: {},
        "modes": {"greet": dict},
        "sharding_rules": {".*": ()},
        "callbacks": [dl.callbacks.Callback()],
        "optimizer": lambda config, steps: optax.sgd(1.0),
    }
    fields = {field.name for field in dataclasses.fields(dl.Experiment)}
    assert set(given) == set(Options.__annotations__) == fields - {"init", "loss", "predict"}
    experiment = from_functions(**given)
    for name, value in given.items():
        assert getattr(experiment, name) is value
    required = {name: given[name] for name in ("train_data", "eval_data")}
    plain = dl.Experiment(init=None, loss=None, **required)
    for defaults in ({}, {"files": None, "modes": None, "sharding_rules": None}):
        by_default = from_functions(**required, **defaults)
        for name in given:
            assert getattr(by_default, name) == getattr(plain, name)
    with pytest.raises(TypeError, match="bestt"):
        from_functions(bestt="loss", **required)
    with pytest.raises(TypeError, match="train_data"):
        from_functions(eval_data=[])


def test_predict_is_a_function():
    with pytest.raises(
        TypeError, match=r"predict: got 3, expected a function such as predict\(params, model_state"
    ):
        dataclasses.replace(TOY, predict=3)


@pytest.mark.parametrize(
    "files",
    [
        None,
        "text",
        {"a.txt": 3},
        {3: "text"},
        {"a/b.txt": ""},
        {"events": ""},
        {".lock": ""},
        {"config.json": ""},
    ],
)
def test_files_are_texts_by_name(files):
    with pytest.raises((TypeError, ValueError), match=r"files.*: got .*, expected"):
        dataclasses.replace(TOY, files=files)


def test_evaluation_sets_have_names():
    assert TOY.eval_sets == {"": TOY.eval_data}
    sets = {"dev": [], "test": []}
    assert dataclasses.replace(TOY, eval_data=sets).eval_sets is sets


@pytest.mark.parametrize("callbacks", [None, dl.callbacks.Callback(), [dl.callbacks.Callback], [print], "ab"])
def test_callbacks_are_a_list_of_objects(callbacks):
    with pytest.raises(TypeError, match=r"callbacks: got .*, expected"):
        dataclasses.replace(TOY, callbacks=callbacks)


def test_a_model_in_plain_jax_trains(tmp_path):
    """The toy is linear regression without noise: it must find the weights."""
    config = plain_toy.Config()
    config.train = dataclasses.replace(config.train, steps=200, log_every=200, eval_every=200)
    config.checkpoint.every = 200
    trained = loop.train(Engine(TOY, config), tmp_path)
    assert trained.evaluation["loss"] < 1e-6
    assert float(jnp.abs(trained.state.params["bias"] - 0.1).max()) < 1e-3


class WithoutLengths(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(1)(inputs)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({"inputs": BATCH_INPUTS, "lengths": ONES}, TypeError, "WithoutLengths.__call__: got .* batch with lengths"),
        ({"inputs": BATCH_INPUTS, "resets": ONES}, TypeError, "WithoutLengths.__call__: got .* batch with resets"),
        ({"images": BATCH_INPUTS}, ValueError, "inputs: got a batch with the fields images, expected"),
    ],
)  # fmt: skip
def test_a_batch_that_does_not_fit_the_model_is_named_at_the_start(batch, error, message):
    experiment = dl.Experiment.from_flax(
        WithoutLengths(), loss=dl.losses.regression, train_data=[batch], eval_data=[batch], best="loss"
    )
    with pytest.raises(error, match=message):
        check_model(experiment)


def plain_program_of_the_docs():
    text = (ROOT / "docs" / "experiment.md").read_text()
    return next(part for part in text.split("```python\n") if "load_arrays()" in part).split("```")[0]


def test_the_batch_size_of_the_plain_program_in_the_docs_is_the_setting():
    program: dict = {"__name__": "program", "load_arrays": lambda: (plain_rows(40), plain_rows(20))}
    exec(plain_program_of_the_docs(), program)
    config = dl.Config()
    config.train.batch_size, config.train.eval_batch_size = 7, 9
    experiment = program["experiment"](config)
    check_model(experiment)
    assert experiment.train_data[0]["inputs"].shape == (7, 3)
    assert next(iter(experiment.eval_data))["inputs"].shape == (9, 3)


def plain_rows(count):
    return {"inputs": np.ones((count, 3), np.float32), "targets": np.ones(count, np.float32)}


def test_the_smallest_loss_is_the_best_unless_the_experiment_says_otherwise():
    named = {
        name: dataclasses.replace(TOY, best=name, lower_is_better=None) for name in ("loss", "dev/loss", "f1")
    }
    assert [experiment.minimizes for experiment in named.values()] == [True, True, False]
    assert not dataclasses.replace(named["loss"], lower_is_better=False).minimizes
