"""The state at step 0."""

import jax
import numpy as np

from dlcore.train.optimizer import make_optimizer
from dlcore.train.state import initial_state
from dlcore.train.step import make_train_step


def start(toy):
    optimizer = make_optimizer(toy.config.optimizer, toy.config.train.steps)
    train_step = make_train_step(toy.experiment, optimizer, toy.config.seed)
    return initial_state(toy.experiment, optimizer, toy.config.seed, train_step), train_step


def test_two_seeds_begin_differently_and_one_seed_alike(make_toy):
    kernels = [np.asarray(start(make_toy(seed=seed))[0].params["Dense_0"]["kernel"]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_it_has_the_structure_that_a_step_returns(make_toy):
    toy = make_toy()
    state, train_step = start(toy)
    after = jax.eval_shape(train_step, state, toy.experiment.train_data[0])
    assert jax.tree.structure(state) == jax.tree.structure(after)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_metrics_begin_at_zero_and_can_be_set_back(make_toy):
    toy = make_toy()
    state, train_step = start(toy)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(state.metrics))
    state = train_step(state, toy.experiment.train_data[0])
    assert any(float(leaf) != 0 for leaf in jax.tree.leaves(state.metrics))
    again = state.with_zero_metrics()
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(again.metrics))
    assert again.params is state.params
