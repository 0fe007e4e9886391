"""The state at step 0."""

import jax
import numpy as np
import pytest

from dlcore.train.engine import Engine


def first_state(toy):
    return Engine(toy.experiment, toy.config).initial_state()


def test_two_seeds_begin_differently_and_one_seed_alike(make_toy):
    kernels = [np.asarray(first_state(make_toy(seed=seed)).params["Dense_0"]["kernel"]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("train", [{}, {"ema_decay": 0.9, "on_nan": "skip"}])
def test_it_has_the_structure_that_a_step_returns(make_toy, train):
    toy = make_toy(**train)
    engine = Engine(toy.experiment, toy.config)
    state, batch = engine.initial_state(), engine.batch(range(1))
    first = jax.eval_shape(lambda state: state, state)  # which is donated
    after = engine.program(batch, 1).call(state, batch)[0]
    assert jax.tree.structure(engine.abstract_state) == jax.tree.structure(first) == jax.tree.structure(after)
    for leaves in zip(*map(jax.tree.leaves, (engine.abstract_state, first, after)), strict=True):
        assert len({(leaf.shape, leaf.dtype) for leaf in leaves}) == 1


def test_metrics_begin_at_zero_and_can_be_set_back(make_toy):
    toy = make_toy()
    engine = Engine(toy.experiment, toy.config)
    state, batch = engine.initial_state(), engine.batch(range(1))
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(state.metrics))
    state, _ = engine.program(batch, 1).call(state, batch)
    assert any(float(leaf) != 0 for leaf in jax.tree.leaves(state.metrics))
    again = engine.with_zero_metrics(state)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(again.metrics))
    assert again.params is state.params
