"""The model of chorales looks back only, composes what it predicts, and writes the chorale that it composed."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import chorales
from tests.helpers.experiment_runs import make_config
from tests.helpers.midi_reader import frames_in

FRAMES = np.random.default_rng(0).integers(50, 80, (1, 9, 4))


@pytest.fixture(scope="module")
def model():
    return chorales.Model(make_config(chorales, features=5, sampling__steps=12, sampling__top_k=1))


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
    batch = {
        "inputs": jnp.ones((2, 3, 4), int),
        "labels": jnp.ones((2, 3, 4), int),
        "lengths": jnp.array([3, 1]),
    }
    value, metrics = chorales.loss(logits, batch)
    assert float(value) == pytest.approx(4 * np.log(128))
    assert float(metrics["loss"].weight) == 4  # frames


def test_the_files_go_on_from_the_opening(model, params):
    test = {"inputs": FRAMES, "lengths": np.array([9])}
    trained = SimpleNamespace(config=model.config, params=params)
    files = chorales.generate(test, trained, ["0", "C5*2 D5;G4*3;E4*3;C4*3"])
    for number, opening in enumerate((FRAMES[0], [[72, 67, 64, 60], [72, 67, 64, 60], [74, 67, 64, 60]])):
        frames, *_ = frames_in(files[f"chorale_{number}.mid"], 2)
        assert frames.shape == (12, 4)
        assert frames[: len(opening)].tolist() == np.asarray(opening).tolist()
        _, *rows = files[f"chorale_{number}.csv"].splitlines()
        assert [[int(cell) for cell in row.split(",")] for row in rows] == frames.tolist()
    with pytest.raises(ValueError, match="text: got 9"):
        chorales.generate(test, trained, ["9"])
