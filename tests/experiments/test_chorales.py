"""The model of chorales looks back only, composes what it predicts, and its run trains, stops, goes on and composes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from experiments import chorales
from tests.helpers.experiment_runs import make_config
from tests.helpers.midi_reader import frames_in
from tests.helpers.packages import needs_package

TINY = {"features": 5, "data__limit": 8, "train__batch_size": 5, "train__eval_every": 10, "sampling__steps": 12}
FRAMES = np.random.default_rng(0).integers(50, 80, (1, 9, 4))


@pytest.fixture(scope="module")
def model():
    return chorales.Model(make_config(chorales, **TINY, sampling__top_k=1))


@pytest.fixture(scope="module")
def params(model):
    arguments = FRAMES, np.array([9])
    shapes = jax.eval_shape(lambda key: model.init(key, *arguments, train=False), jax.random.key(0))
    normal = np.random.default_rng(1).standard_normal
    return jax.tree.map(lambda leaf: normal(leaf.shape, np.float32), shapes["params"])


def test_a_prediction_depends_on_what_came_before_and_is_what_the_composer_draws(model, params):
    """The most likely notes of a composed chorale, all read at once, are the chorale itself."""
    logits = jax.jit(lambda frames: model.apply({"params": params}, frames, jnp.array([12]), train=False))
    composed = chorales.compose(model, params, FRAMES[0, :4])
    assert composed.shape == (12, 4)
    assert (composed[:4] == FRAMES[0, :4]).all()
    whole = logits(composed[None])
    assert (np.asarray(whole).argmax(-1)[0, 4:] == composed[4:]).all()
    changed = composed.copy()
    changed[7, 2:] = 60  # tenor and bass of frame 7, and all that follows
    changed[8:] = 61
    same = np.abs(whole - logits(changed[None]))[0].max(-1) < 1e-5
    assert same[:7].all()
    assert same[7].tolist() == [True, True, True, False]
    assert not same[8:].any()


def test_the_loss_is_that_of_a_frame():
    logits = jnp.zeros((2, 3, 4, 128))
    batch = {"inputs": jnp.ones((2, 3, 4), int), "labels": jnp.ones((2, 3, 4), int), "lengths": jnp.array([3, 1])}
    value, metrics = chorales.loss(logits, batch)
    assert float(value) == pytest.approx(4 * np.log(128))
    assert float(metrics["loss"].weight) == 4  # frames


@pytest.mark.slow
@needs_package("music21")
def test_a_run_trains_stops_goes_on_to_the_bit_and_composes(tmp_path):
    config = make_config(chorales, **TINY, train__steps=20)
    whole = dl.train(chorales.experiment(config), config, tmp_path / "whole")
    half = make_config(chorales, **TINY, train__steps=20, stop__after="10steps")
    dl.train(chorales.experiment(half), half, tmp_path / "parts")
    again = dl.train(chorales.experiment(config), config, tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, whole.params, again.params)
    assert whole.evaluation["dev/loss"] < 4 * np.log(128)
    files = whole.generate(["0", "C5*4;G4*4;E4*4;C4*4"])
    assert sorted(files) == [f"chorale_{n}.{kind}" for n in (0, 1) for kind in ("csv", "mid", "png")]
    frames, *_ = frames_in(files["chorale_1.mid"], 2)
    assert frames[:4].tolist() == [[72, 67, 64, 60]] * 4
    assert len(frames) == 12
    with pytest.raises(ValueError, match="text: got 9"):
        whole.generate(["9"])


@pytest.mark.slow
@needs_package("music21")
def test_its_gradient_flow_is_measured(tmp_path):
    config = make_config(chorales, **TINY)
    flow = dl.gradient_flow(chorales.experiment(config), config)
    assert flow.flows
