"""Clipping follows the lecture and is measured; the measurements are found in any optimizer state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training.optimizers.clipping import (
    clip_and_measure,
    clip_metrics,
    find_clip_state,
    is_usable,
    update_count,
)

PARAMS = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([2.0])}


def clip_each(gradients, thresholds):
    """Clips a stack of gradients, each with its own threshold, in one program; returns them and their metrics."""

    def clip_one(gradient, threshold):
        clip = clip_and_measure(threshold)
        clipped, state = clip.update(gradient, clip.init(gradient))
        return clipped, clip_metrics(state)

    return jax.jit(jax.vmap(clip_one))(gradients, thresholds)


def test_clipping_follows_the_lecture():
    """if ||g|| > threshold: g <- threshold * g / ||g||; here ||g|| = 13."""
    thresholds = np.array([0.1, 1.0, 12.0, 13.0, 14.0], np.float32)
    gradient = {"a": np.array([3.0, 4.0], np.float32), "b": np.array([12.0], np.float32)}
    clipped, measured = clip_each(
        {name: np.tile(leaf, (5, 1)) for name, leaf in gradient.items()}, thresholds
    )
    scales = np.where(thresholds < 13, thresholds / 13, 1)
    for name, leaf in gradient.items():
        np.testing.assert_allclose(clipped[name], scales[:, None] * leaf, rtol=1e-6)
    values = {name: metric.total for name, metric in measured.items()}
    np.testing.assert_allclose(values["gradient_norm"], np.full(5, 13), rtol=1e-6)
    np.testing.assert_allclose(values["gradient_norm_clipped"], np.minimum(thresholds, 13), rtol=1e-6)
    np.testing.assert_array_equal(values["clipped_fraction"], thresholds < 13)


def test_without_a_threshold_the_gradient_is_only_measured():
    clip = clip_and_measure(None)
    clipped, state = clip.update(PARAMS, clip.init(PARAMS))
    assert clipped is PARAMS
    assert float(state.norm) == float(state.clipped_norm) == pytest.approx(float(optax.tree.norm(PARAMS)))


def test_the_clipped_fraction_equals_a_count_in_float64():
    """Gradients of all sizes, also those whose squares overflow or underflow float32."""
    generator = np.random.default_rng(0)
    sizes = 10.0 ** generator.uniform(-25, 25, size=(40, 1))
    gradients = np.float32(sizes * generator.normal(size=(40, 2)))
    exceeds = np.linalg.norm(np.float64(gradients), axis=1) > 1
    clipped, measured = clip_each(gradients, np.ones(40, np.float32))
    assert 0.2 < exceeds.mean() < 0.8
    np.testing.assert_allclose(np.linalg.norm(clipped, axis=1)[exceeds], 1, rtol=1e-6)
    total = jax.tree.map(np.sum, measured["clipped_fraction"])
    assert float(total.value()) == pytest.approx(exceeds.mean())


class OtherState(NamedTuple):
    """The state of a user's own optimizer, which has a field of the same name as `ClipState`."""

    norm: jax.Array


@pytest.mark.parametrize(
    "state", [optax.adam(1e-3).init(PARAMS), OtherState(jnp.ones(()))], ids=["adam", "norm"]
)
def test_an_optimizer_without_clip_and_measure_has_no_clip_metrics(state):
    assert find_clip_state(state) is None
    assert clip_metrics(state) == {}


def test_the_clip_state_is_found_by_its_type_wherever_it_is():
    optimizer = optax.chain(
        optax.GradientTransformation(
            lambda _: OtherState(jnp.ones(())), lambda g, state, params=None: (g, state)
        ),
        optax.masked(optax.chain(clip_and_measure(1.0), optax.sgd(0.1)), {"kernel": True, "bias": False}),
    )
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert float(clip_metrics(state)["gradient_norm"].value()) == pytest.approx(5)


@pytest.mark.parametrize(
    ("size", "threshold", "usable"),
    [(1.0, None, True), (1e25, None, False), (1e25, 1.0, True), (np.inf, 1.0, False), (np.nan, None, False)],
)
def test_a_gradient_is_usable_if_its_clipped_squares_are_finite(size, threshold, usable):
    gradient = {"kernel": jnp.full((1, 2), size)}
    clip = clip_and_measure(threshold)
    _, state = clip.update(gradient, clip.init(gradient))
    assert bool(is_usable(gradient, state)) == usable
    if threshold is None:  # an optimizer of the user's own: the gradient itself decides
        assert bool(is_usable(gradient, optax.sgd(0.1).init(gradient))) == usable


def test_updates_are_counted_wherever_the_state_counts_them():
    optimizer = optax.MultiSteps(optax.adam(0.1), 4)
    state = optimizer.init(PARAMS)
    assert update_count(state) == 0
    _, state = optimizer.update(PARAMS, state, PARAMS)
    assert update_count(state) == 1  # an update that waits for three more is one
    assert update_count(optax.sgd(0.1).init(PARAMS)) is None
