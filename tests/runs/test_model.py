"""A trained model runs on any data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.run import Run
from tests.helpers import plain_toy

PARAMS = {
    "bias": np.arange(4, dtype=np.float32),
    "weights": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4),
}


def make_model(tmp_path, precision="float32", **fields):
    """A model with `PARAMS`, without a training."""
    config = plain_toy.Config()
    config.train.precision = precision
    experiment = dataclasses.replace(plain_toy.experiment(config), **fields)
    state = plain_toy.make_state(plain_toy.make_engine()).replace(params=PARAMS, step=np.int32(5))
    return dl.TrainedModel(Run(experiment, config, tmp_path), state)


def test_it_computes_the_outputs_of_any_number_of_rows(tmp_path):
    model = make_model(tmp_path)
    for shape in ((1, 5, 2), (7, 3, 2), (2, 2)):
        inputs = np.random.default_rng(0).normal(size=shape)
        expected = inputs @ PARAMS["weights"].astype(float) + PARAMS["bias"]
        for given in (inputs, jnp.asarray(inputs)):
            np.testing.assert_allclose(model.predict(given), expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(model.apply({"inputs": given}), expected, rtol=1e-5, atol=1e-5)


def test_it_is_traced_once_for_each_shape_and_gets_every_field(tmp_path):
    traced = []

    def predict(params, model_state, batch):
        traced.append({name: (field.shape, field.dtype) for name, field in batch.items()})
        return plain_toy.predict(params, model_state, batch)

    model, inputs = make_model(tmp_path, predict=predict), np.ones((3, 5, 2), np.float32)
    for rows in (3, 2, 3):
        model.predict(inputs[:rows], np.array([0, 5, 2], np.int8)[:rows], speaker=np.ones(rows))
    assert [batch["inputs"][0] for batch in traced] == [(3, 5, 2), (2, 5, 2)]
    assert traced[0]["lengths"] == ((3,), np.int32)
    assert traced[0]["speaker"] == ((3,), np.float32)


def test_the_moving_average_is_used_if_the_run_kept_one(tmp_path):
    model = make_model(tmp_path)
    average = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    averaged = dataclasses.replace(model, state=model.state.replace(average=average))
    assert averaged.params is average
    inputs = np.ones((1, 1, 2), np.float32)
    np.testing.assert_allclose(averaged.predict(inputs), model.predict(inputs) + 3, rtol=1e-6)


def test_it_computes_in_the_precision_of_its_run_and_returns_float32(tmp_path):
    seen = []

    def predict(params, model_state, batch):
        seen.extend([params["weights"].dtype, batch["inputs"].dtype, batch["targets"].dtype])
        return plain_toy.predict(params, model_state, batch)

    model = make_model(tmp_path, "bfloat16", predict=predict)
    inputs = np.full((1, 1, 2), 1 / 3, np.float32)
    outputs = model.predict(inputs, targets=inputs)
    assert seen == [jnp.bfloat16, jnp.bfloat16, jnp.float32]
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, make_model(tmp_path).predict(inputs), rtol=0.02)


def test_it_says_what_it_is(tmp_path):
    model = make_model(tmp_path)
    assert (model.step, model.folder, model.config) == (5, tmp_path, model.run.config)
    assert model.experiment is model.run.experiment
    assert model.model_state is model.state.model_state
    assert repr(model) == f"TrainedModel(folder='{tmp_path}', step=5)"


INPUTS = np.ones((2, 5, 2), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": INPUTS.tolist()}, TypeError, "batch: inputs: got list, expected an array"),
        ({"inputs": {"inputs": INPUTS}}, TypeError, "batch: inputs: got dict, expected an array"),
        (
            {"inputs": INPUTS, "lengths": np.array([1, 6])},
            ValueError,
            "lengths: got 6 in row 1, expected 0 to 5",
        ),
        ({"inputs": INPUTS, "lengths": np.array([1.0, 2.0])}, TypeError, "lengths: got float64"),
        ({"inputs": INPUTS, "lengths": np.array([1])}, ValueError, "batch: got fields of lengths"),
        (
            {"inputs": np.ones(2), "lengths": np.array([1, 1])},
            ValueError,
            r"inputs: got shape \(2,\) with lengths",
        ),
        ({"inputs": INPUTS, "speaker": np.ones(3)}, ValueError, "batch: got fields of lengths"),
    ],
)
def test_a_bad_argument_is_named(tmp_path, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make_model(tmp_path).predict(**arguments)


def test_an_experiment_without_predict_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^predict: got an experiment without it, expected dl.Experiment"):
        make_model(tmp_path, predict=None).predict(INPUTS)
    with pytest.raises(TypeError, match=r"^batch: got list, expected a dict of arrays"):
        make_model(tmp_path).apply([INPUTS])
