"""A model as two functions: its loss and its predictions."""

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.adapters.functions import with_loss
from dlcore.training.model import PureModel
from tests.helpers import library_models, model_docs

PARAMS, STATE, BATCH = {"w": np.float32(1)}, {"calls": 0}, {"inputs": np.ones(2, np.float32)}
KEY = 5  # any value will do here


def init(rng, batch):
    return PARAMS, STATE


def apply(params, model_state, batch, rng, train):
    """The state changes in an evaluation as well, which must not count."""
    noise = rng if train else 0
    return params["w"] * batch["inputs"] + noise, {"calls": model_state["calls"] + 1}


def loss(outputs, batch):
    return outputs.mean(), {"loss": dl.metrics.Average.of(outputs)}


def read(params, state):
    return {
        "kernel": params["linear"]["w"],
        "bias": params["linear"]["b"],
        "scale": params["norm"]["scale"],
        "shift": params["norm"]["offset"],
        "mean": state["norm/~/mean_ema"]["average"][0],
        "var": state["norm/~/var_ema"]["average"][0],
        "readout_kernel": params["readout"]["w"],
        "readout_bias": params["readout"]["b"],
    }


@pytest.mark.slow
def test_state_dropout_and_evaluation_of_a_haiku_model():
    pytest.importorskip("haiku", reason="the peer haiku is not installed (extra `peers`)")
    library_models.check_behavior(library_models.functions(), read, share=1.0)


def test_the_state_changes_in_training_only():
    run, predict = with_loss(PureModel(init, apply), loss)
    value, (state, metrics) = run(PARAMS, STATE, BATCH, KEY, True)
    assert (float(value), state["calls"]) == (6, 1)
    value, (state, metrics) = run(PARAMS, STATE, BATCH, KEY, False)
    assert float(value) == float(metrics["loss"].value()) == 1
    assert state is STATE
    np.testing.assert_array_equal(predict(PARAMS, STATE, BATCH), BATCH["inputs"])


def test_an_evaluation_of_streams_begins_with_the_state_in_the_batch_and_returns_the_next_one():
    def apply(params, model_state, batch, rng, train):
        return model_state["carry"] * batch["inputs"], {name: part + 1 for name, part in model_state.items()}

    run, _ = with_loss(PureModel(init, apply), loss)
    before = {"carry": np.float32(2), "calls": 7}
    value, (after, _) = run(PARAMS, before, {**BATCH, "carry": np.float32(5)}, KEY, False)
    assert (float(value), after) == (5, {"carry": 6, "calls": 7})
    value, (after, _) = run(PARAMS, before, BATCH, KEY, True)
    assert (float(value), after) == (2, {"carry": 3, "calls": 8})


@pytest.mark.parametrize("name", ["init", "apply", "loss"])
def test_what_is_no_function_is_refused(name):
    functions = {"init": init, "apply": apply, "loss": loss, name: 3}
    with pytest.raises(TypeError, match=f"{name}: got 3, expected a function such as"):
        with_loss(PureModel(functions["init"], functions["apply"]), functions["loss"])


def test_functions_that_return_something_else_are_named():
    run, predict = with_loss(PureModel(init, lambda *arguments: np.ones(3)), loss)
    for call in (lambda: run(PARAMS, STATE, BATCH, KEY, True), lambda: predict(PARAMS, STATE, BATCH)):
        with pytest.raises(
            TypeError, match=r"apply: got an array of shape \(3,\) returned, expected outputs, model_s"
        ):
            call()
    run, _ = with_loss(PureModel(init, apply), lambda outputs, batch: outputs.mean())
    with pytest.raises(TypeError, match=r"loss: got an array of shape \(\) returned, expected loss, metrics"):
        run(PARAMS, STATE, BATCH, KEY, True)


@pytest.mark.slow
@pytest.mark.parametrize("section", ["Plain JAX", "Haiku"])
def test_the_programs_of_the_page_go_on_to_the_same_bits(section, tmp_path):
    if section == "Haiku":
        pytest.importorskip("haiku", reason="the peer haiku is not installed (extra `peers`)")
    model_docs.check_program(section, tmp_path)


@pytest.mark.slow
def test_gradient_flow_is_measured_as_the_page_says():
    experiment = model_docs.program("Plain JAX")["experiment"](dl.Config())
    params, model_state = experiment.init(jax.random.key(0), experiment.train_data[0])
    (flow,) = model_docs.program("Gradient flow")["flows"](experiment, params, model_state)
    assert flow.name.startswith("models.md: Plain JAX:")
    assert 0 < flow.half_life < np.inf
