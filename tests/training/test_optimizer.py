"""The optimizer that a config describes: clipping, schedules, weight decay, update rules."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.training.optimizer import (
    OptimizerConfig,
    clip_and_measure,
    clip_metrics,
    find_clip_state,
    is_decayed,
    is_kernel,
    is_usable,
    make_optimizer,
    make_schedule,
)
from dlcore.utils.trees import named_leaves
from tests.helpers.layers import CASES

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


REFERENCES = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1, weight_decay=0.0),
}


def test_each_rule_equals_optax_after_clipping():
    def train(optimizer, gradients):
        state, params = optimizer.init(PARAMS), PARAMS
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    gradients = [jax.tree.map(lambda leaf, step=step: leaf * 0.1 + step, PARAMS) for step in range(3)]
    norms = [np.sqrt(sum(np.square(leaf).sum() for leaf in gradient.values())) for gradient in gradients]
    clipped = [
        jax.tree.map(lambda leaf, norm=norm: leaf / max(1, norm), gradient)
        for gradient, norm in zip(gradients, norms, strict=True)
    ]
    assert min(norms) < 1 < max(norms)
    ours = {
        name: make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, clip_norm=1.0), 10)
        for name in REFERENCES
    }
    both = lambda: [(train(ours[name], gradients), train(REFERENCES[name], clipped)) for name in REFERENCES]
    for one, other in jax.jit(both)():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, other)


@pytest.mark.parametrize("name", REFERENCES)
def test_weight_decay_shrinks_kernels_and_leaves_biases(name):
    optimizer = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5), 10)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates = jax.jit(lambda: optimizer.update(zeros, optimizer.init(PARAMS), PARAMS)[0])()
    assert (np.asarray(updates["kernel"]) < 0).all()
    assert (np.asarray(updates["bias"]) == 0).all()


def test_what_is_decayed_is_said_by_names_and_not_by_ranks():
    stack = dl.DeepRecurrent(dl.LayerNormLSTMCell(4), layers=3, norm="layer")
    direct = dl.Recurrent(dl.RNNCell(4, connections="direct"))
    inputs = jax.ShapeDtypeStruct((2, 3, 2), jnp.float32)
    params = [jax.eval_shape(layer.init, jax.random.key(0), inputs)["params"] for layer in (stack, direct)]
    upper, cell = params[0]["upper"], params[1]["cell"]
    assert upper["layer"]["cell"]["bias"].ndim == upper["norm"]["scale"].ndim == 2
    assert cell["recurrent_kernel"].shape == (4,)
    decayed = named_leaves(is_decayed(params))
    assert {name.rpartition("/")[2] for name, value in decayed.items() if value} == {
        "input_kernel",
        "recurrent_kernel",
    }
    assert {name.rpartition("/")[2] for name, value in decayed.items() if not value} == {
        "bias", "cell_bias", "cell_scale", "input_scale", "recurrent_scale", "scale",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].layer is not None])
def test_every_parameter_of_every_layer_says_whether_it_is_a_kernel(name):
    case = CASES[name]
    for path in named_leaves(case.arguments()["params"]):
        assert is_kernel(path.rpartition("/")[2]) is not None, path


def test_parameters_whose_names_say_nothing_are_kernels_if_they_are_matrices():
    matrix, vector = np.ones((2, 3)), np.ones(3)
    haiku = {"linear": {"w": matrix, "b": vector}, "layer_norm": {"scale": vector, "offset": vector}}
    assert named_leaves(is_decayed(haiku)) == {
        "linear/w": True, "linear/b": False, "layer_norm/scale": False, "layer_norm/offset": False,
    }  # fmt: skip
    assert is_decayed([(matrix, vector), {"w1": matrix}]) == [(True, False), {"w1": True}]
    boxed = {"kernel": nn.Partitioned(vector, ("model",)), "bias": nn.Partitioned(matrix, (None, "model"))}
    assert jax.tree.leaves(is_decayed(boxed)) == [False, True]  # in the order of their names
    assert is_decayed({"embedding": matrix, "up_bias": [matrix, matrix]}) == {
        "embedding": True,
        "up_bias": [False, False],
    }


def test_schedules_rise_to_the_learning_rate_and_end_where_they_should():
    for name, end in (("constant", 0.5), ("cosine", 0.0), ("linear", 0.0)):
        schedule = make_schedule(OptimizerConfig(learning_rate=0.5, schedule=name, warmup_steps=10), 100)
        rates = np.asarray(jax.jit(jax.vmap(schedule))(np.arange(101)))
        np.testing.assert_allclose(rates[[0, 5, 10, 100]], [0, 0.25, 0.5, end], rtol=1e-6, atol=1e-7)
        assert (np.diff(rates[10:]) <= 0).all()


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps: got 20, expected at most the run's 10 steps"):
        make_schedule(OptimizerConfig(warmup_steps=20), 10)
    schedule = make_schedule(OptimizerConfig(schedule="cosine", warmup_steps=10), 10)
    assert float(schedule(10)) == pytest.approx(1e-3)
