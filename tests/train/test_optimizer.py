"""The optax chain from its Config: clipping, schedules, decay, update rules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.train.optimizer import (
    OptimizerConfig,
    clip_and_measure,
    clip_metrics,
    make_optimizer,
    make_schedule,
)

PARAMS = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([2.0])}


@pytest.mark.parametrize("threshold", [0.1, 1.0, 12.0, 13.0, 14.0])
def test_clipping_is_the_lectures(threshold):
    """if ||g|| > threshold: g <- threshold * g / ||g||; here ||g|| = 13."""
    gradient = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([12.0])}
    clip = clip_and_measure(threshold)
    clipped, state = clip.update(gradient, clip.init(gradient))
    scale = threshold / 13 if threshold < 13 else 1
    for name in gradient:
        np.testing.assert_allclose(clipped[name], gradient[name] * scale, rtol=1e-6)
    measured = {name: float(metric.value()) for name, metric in clip_metrics(state).items()}
    assert measured["gradient_norm"] == pytest.approx(13)
    assert measured["gradient_norm_clipped"] == pytest.approx(min(threshold, 13))
    assert measured["clipped_fraction"] == (threshold < 13)


def test_without_a_threshold_the_gradient_is_measured_and_left():
    clip = clip_and_measure(None)
    clipped, state = clip.update(PARAMS, clip.init(PARAMS))
    assert clipped is PARAMS
    assert float(state.norm) == float(state.clipped_norm) == pytest.approx(float(optax.tree.norm(PARAMS)))


def test_the_clipped_fraction_is_that_of_a_recount():
    """Over gradients of all sizes, those among them whose squares are no float32."""
    generator = np.random.default_rng(0)
    clip, recount, sums = clip_and_measure(1.0), [], None
    for _ in range(40):
        kernel = 10.0 ** generator.uniform(-25, 25) * generator.normal(size=(1, 2))
        gradient = {"kernel": jnp.float32(kernel), "bias": jnp.zeros(1)}
        clipped, state = clip.update(gradient, clip.init(gradient))
        recount.append(np.linalg.norm(np.float64(np.float32(kernel))) > 1)
        assert np.linalg.norm(clipped["kernel"]) == pytest.approx(1) or not recount[-1]
        measured = clip_metrics(state)
        sums = measured if sums is None else jax.tree.map(jnp.add, sums, measured)
    assert 0.2 < np.mean(recount) < 0.8
    assert float(sums["clipped_fraction"].value()) == pytest.approx(np.mean(recount))


def test_an_optimizer_of_the_users_own_has_no_clip_metrics():
    assert clip_metrics(optax.adam(1e-3).init(PARAMS)) == {}


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_each_rule_is_optax_s_own_behind_the_clipping(name):
    config = OptimizerConfig(name=name, learning_rate=0.1, clip_norm=1.0)
    reference = {
        "sgd": optax.sgd(0.1),
        "momentum": optax.sgd(0.1, momentum=0.9),
        "adam": optax.adam(0.1),
        "adamw": optax.adamw(0.1, weight_decay=0.0),
    }[name]
    optimizer = make_optimizer(config, 10)
    ours, theirs = (optimizer.init(PARAMS), PARAMS), (reference.init(PARAMS), PARAMS)
    for step in range(3):
        gradient = jax.tree.map(lambda leaf, step=step: leaf * 0.1 + step, PARAMS)
        scale = 1 / max(1.0, float(optax.tree.norm(gradient)))
        updates, state = optimizer.update(gradient, *ours)
        ours = state, optax.apply_updates(ours[1], updates)
        updates, state = reference.update(jax.tree.map(lambda g, s=scale: g * s, gradient), *theirs)
        theirs = state, optax.apply_updates(theirs[1], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours[1], theirs[1])


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_weight_decay_shrinks_kernels_and_leaves_biases(name):
    optimizer = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5), 10)
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = optimizer.update(nothing, optimizer.init(PARAMS), PARAMS)
    assert (np.asarray(updates["kernel"]) < 0).all()
    assert (np.asarray(updates["bias"]) == 0).all()


def test_schedules_begin_peak_and_end_where_they_say():
    for name, end in (("constant", 0.5), ("cosine", 0.0), ("linear", 0.0)):
        schedule = make_schedule(OptimizerConfig(learning_rate=0.5, schedule=name, warmup_steps=10), 100)
        assert float(schedule(0)) == 0
        assert float(schedule(5)) == pytest.approx(0.25)
        assert float(schedule(10)) == pytest.approx(0.5)
        assert float(schedule(100)) == pytest.approx(end, abs=1e-7)
        assert float(schedule(99)) >= end


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps: got 20, expected at most the run's 10 steps"):
        make_schedule(OptimizerConfig(warmup_steps=20), 10)
    assert float(make_schedule(OptimizerConfig(schedule="cosine", warmup_steps=10), 10)(10)) == pytest.approx(
        1e-3
    )
