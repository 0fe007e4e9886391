"""One training step, against the same update written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore.train.engine import Engine
from dlcore.train.evaluation import read_sums
from dlcore.train.step import make_eval_step, make_train_step
from dlcore.utils.rng import stream_key


def start(toy):
    engine = Engine(toy.experiment, toy.config)
    train_step = make_train_step(toy.experiment, engine.optimizer, toy.config.seed, toy.config.train)
    return engine.optimizer, jax.jit(train_step), engine.initial_state()


def test_a_step_is_gradient_clipping_and_update(make_toy):
    toy = make_toy()
    _, train_step, state = start(toy)
    before = jax.device_get(state)
    batch = toy.experiment.train_data[0]
    after = train_step(state, batch)

    def loss(params):
        return toy.experiment.loss(params, before.model_state, batch, stream_key(0, "dropout", 0), True)[0]

    @jax.jit
    def by_hand(params):
        gradient, adam = jax.grad(loss)(params), optax.adam(1e-3)
        scale = jnp.minimum(1.0, 0.5 / optax.tree.norm(gradient))
        updates, _ = adam.update(jax.tree.map(lambda g: g * scale, gradient), adam.init(params))
        return optax.apply_updates(params, updates)

    expected = by_hand(before.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.params, expected)
    assert int(after.step) == 1


def test_metrics_of_steps_add_up(make_toy):
    toy = make_toy()
    _, train_step, state = start(toy)
    losses = []
    loss = jax.jit(toy.experiment.loss, static_argnums=4)
    for step in range(3):
        batch = toy.experiment.train_data[step]
        rng = stream_key(0, "dropout", step)
        losses.append(float(loss(state.params, state.model_state, batch, rng, True)[0]))
        state = train_step(state, batch)
    assert np.isclose(read_sums(state.metrics)["loss"], np.mean(losses), rtol=1e-5)
    assert float(state.metrics["loss"].weight) == 24
    assert set(state.metrics) == {
        "loss",
        "accuracy",
        "gradient_norm",
        "gradient_norm_clipped",
        "clipped_fraction",
    }


def test_dropout_differs_from_step_to_step_and_batch_statistics_move(make_toy):
    toy = make_toy()
    _, train_step, state = start(toy)
    batch, key = toy.experiment.train_data[0], stream_key
    at = lambda step: float(
        toy.experiment.loss(state.params, state.model_state, batch, key(0, "dropout", step), True)[0]
    )
    assert at(0) == at(0)
    assert at(0) != at(1)
    before = jax.device_get(state.model_state)
    after = train_step(state, batch).model_state
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    assert all(jax.tree.leaves(changed))


def test_evaluation_draws_nothing_and_moves_nothing(make_toy):
    toy = make_toy()
    _, _, state = start(toy)
    eval_step = jax.jit(make_eval_step(toy.experiment, toy.config.train))
    first, second = (
        eval_step(state.params, state.model_state, batch) for batch in [toy.experiment.eval_data[0]] * 2
    )
    assert float(first["loss"].total) == float(second["loss"].total)
