"""The harmonizer reads its melody in both directions, keeps it, and counts the accuracy of each voice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import harmonize
from tests.helpers.experiment_runs import make_config

SOPRANO = np.random.default_rng(0).integers(60, 80, 12).astype(np.int32)
MARKS = np.array([1, 0, 1, 1, 1, 3, 2, 2, 1, 1, 3, 2], np.int32)


def tiny_params(model):
    arguments = SOPRANO[None], MARKS[None], np.array([12])
    shapes = jax.eval_shape(lambda key: model.init(key, *arguments, train=False), jax.random.key(0))
    normal = np.random.default_rng(1).standard_normal
    return jax.tree.map(lambda leaf: normal(leaf.shape, np.float32), shapes["params"])


@pytest.mark.parametrize(("architecture", "reach"), [("recurrent", 12), ("window", 4)])
def test_a_note_hears_the_melody_on_both_sides(architecture, reach):
    model = harmonize.Model(make_config(harmonize, features=5, architecture=architecture))
    params = tiny_params(model)
    apply = lambda soprano: model.apply({"params": params}, soprano, MARKS[None], np.array([12]), train=False)
    run = jax.jit(apply)
    logits = run(SOPRANO[None])
    assert logits.shape == (1, 12, 3, 128)
    changed = SOPRANO.copy()
    changed[5] += 1
    differs = np.abs(run(changed[None]) - logits)[0].max((1, 2)) > 0
    assert differs.tolist() == [abs(place - 5) <= reach for place in range(12)]
    voices = harmonize.harmonize(model, params, SOPRANO, MARKS)
    assert (voices[:, 0] == SOPRANO).all()
    assert (voices[:, 1:] == np.asarray(logits[0]).argmax(-1)).all()


def test_a_melody_in_another_key_has_the_same_harmony():
    """Without the embedding of absolute notes the scores move with the melody."""
    model = harmonize.Model(make_config(harmonize, features=5))
    params = tiny_params(model)
    params["notes"] = jax.tree.map(np.zeros_like, params["notes"])
    first, higher = (harmonize.harmonize(model, params, SOPRANO + k, MARKS) for k in (0, 3))
    assert ((higher - first) % 128 == 3).all()


def test_each_voice_has_its_accuracy():
    labels = jnp.array([[[60, 55, 48], [60, 55, 48], [0, 0, 0]]])
    logits = jax.nn.one_hot(jnp.array([[[60, 55, 40], [60, 50, 40], [0, 0, 0]]]), 128)
    batch = {"inputs": jnp.ones((1, 3), int), "labels": labels, "lengths": jnp.array([2])}
    _, metrics = harmonize.loss(logits, batch)
    accuracies = {name: float(metric.value()) for name, metric in metrics.items() if "_accuracy" in name}
    assert accuracies == {"alto_accuracy": 1, "tenor_accuracy": 0.5, "bass_accuracy": 0}
    assert float(metrics["accuracy"].value()) == 0.5


def test_the_window_is_a_regression_on_nine_frames():
    model = harmonize.Model(make_config(harmonize, architecture="window"))
    assert jax.tree.map(jnp.shape, tiny_params(model)) == {
        "Conv_0": {"kernel": (9, 128, 3 * 128), "bias": (3 * 128,)}
    }


def test_padding_changes_nothing_of_the_window():
    model = harmonize.Model(make_config(harmonize, features=5, architecture="window"))
    params = tiny_params(model)
    run = lambda soprano, marks: model.apply(
        {"params": params}, soprano[None], marks[None], np.array([12]), train=False
    )
    padded = run(np.r_[SOPRANO, np.zeros(7, np.int32)], np.r_[MARKS, np.zeros(7, np.int32)])
    np.testing.assert_allclose(padded[:, :12], run(SOPRANO, MARKS), rtol=1e-5, atol=1e-5)
