"""What a step can be told: micro-batches, precision, moving average, several steps a call, rematerialization."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.train.engine import Engine, split_into_calls
from dlcore.train.step import accumulate_gradients, make_gradient
from tests.helpers import sequence_toy


def engine_of(norm=False, dropout=0.0, **train):
    config = sequence_toy.Config(norm=norm, dropout=dropout)
    config.train = dataclasses.replace(config.train, **train)
    return Engine(sequence_toy.experiment(config), config)


def trained(engine, steps=8, count=1):
    state = engine.initial_state()
    for start in range(0, steps, count):
        batch = engine.batch(range(start, start + count))
        state, bad_step = engine.program(batch, count).call(state, batch)
    assert int(bad_step) == -1
    return state


def assert_close(first, second, rtol=1e-6, atol=1e-6):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), first, second)


@pytest.mark.parametrize("micro_batches", [2, 4, 8])
def test_micro_batches_equal_one_batch_with_ragged_lengths_and_clipping(micro_batches):
    """Rows of several lengths, some of 0, weigh by their frames, and clipping sees the mean gradient once."""
    one, several = (trained(engine_of(micro_batches=parts), steps=5) for parts in (1, micro_batches))
    assert float(one.metrics["clipped_fraction"].value()) > 0.5
    assert_close(one.params, several.params)
    assert_close(one.metrics, several.metrics, rtol=1e-5)
    assert_close(one.opt_state, several.opt_state)


def test_a_gradient_in_parts_is_the_weighted_mean_of_their_gradients():
    engine = engine_of()
    gradient = make_gradient(engine.experiment.loss, engine.config.train)
    state, batch, rng = engine.initial_state(), engine.experiment.train_data[0], jax.random.key(0)
    parts = [
        gradient(state.params, {}, {name: field[k::2] for name, field in batch.items()}, rng) for k in (0, 1)
    ]
    weights = [float(metrics["loss"].weight) for *_, metrics in parts]
    assert weights[0] != weights[1]
    expected = jax.tree.map(
        lambda a, b: (weights[0] * a + weights[1] * b) / sum(weights), parts[0][0], parts[1][0]
    )
    assert_close(accumulate_gradients(gradient, 2)(state.params, {}, batch, rng)[0], expected)


def test_batches_without_a_valid_frame_have_the_gradient_0():
    engine = engine_of()
    gradient = accumulate_gradients(make_gradient(engine.experiment.loss, engine.config.train), 2)
    batch = {**engine.experiment.train_data[0], "lengths": np.zeros(8, np.int32)}
    grads, loss, _, _ = gradient(engine.initial_state().params, {}, batch, jax.random.key(0))
    assert float(loss) == 0
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(grads))


def test_micro_batches_carry_batch_statistics_and_draw_their_own_dropout():
    one, several = (trained(engine_of(norm=True, dropout=0.5, micro_batches=k), steps=1) for k in (1, 2))
    means = [np.asarray(state.model_state["batch_stats"]["BatchNorm_0"]["mean"]) for state in (one, several)]
    assert not np.allclose(*means, rtol=1e-3)  # moved twice
    assert float(one.metrics["loss"].weight) == float(several.metrics["loss"].weight)


def test_micro_batches_have_to_divide_the_batch():
    with pytest.raises(
        ValueError, match=r"micro_batches: got 3 for batches of 8 .* expected 3 x 1 to divide"
    ):
        engine_of(micro_batches=3)


def test_several_steps_in_a_call_equal_as_many_calls():
    one, four = (trained(engine_of(norm=True, dropout=0.2, steps_per_call=k), count=k) for k in (1, 4))
    assert_close(one, four, rtol=1e-5)
    assert int(four.step) == 8


def test_calls_end_where_something_is_due():
    config = dl.Config()
    config.train = dl.TrainConfig(steps=35, steps_per_call=8, log_every=10, eval_every=15)
    config.checkpoint.every = 100
    calls = list(split_into_calls(0, config))
    assert [(call.start, call.stop) for call in calls] == [
        (0, 8), (8, 10), (10, 15), (15, 20), (20, 28), (28, 30), (30, 35),
    ]  # fmt: skip
    for call in calls:  # going on behind any call gives the same calls
        assert list(split_into_calls(call.stop, config)) == calls[calls.index(call) + 1 :]


def test_steps_whose_batches_differ_in_shape_cannot_share_a_call():
    config = sequence_toy.Config()
    arrays = sequence_toy.arrays()
    data = dl.data.BucketedBatches(arrays, 4, seed=0, boundaries=(4,), fields=("inputs", "labels"))
    shapes = {data[step]["inputs"].shape for step in range(10)}
    assert len(shapes) == 2
    experiment = dataclasses.replace(sequence_toy.experiment(config), train_data=data)
    with pytest.raises(ValueError, match="steps_per_call: got 10 steps whose batches differ in shape"):
        Engine(experiment, config).batch(range(10))


def test_rematerialization_changes_memory_and_no_gradient():
    plain, again = (trained(engine_of(norm=True, dropout=0.2, remat=on), steps=3) for on in (False, True))
    assert_close(plain.params, again.params)
    engine = engine_of(remat=True)
    gradient = make_gradient(engine.experiment.loss, engine.config.train)
    state, batch = engine.initial_state(), engine.experiment.train_data[0]
    program = jax.make_jaxpr(gradient)(state.params, state.model_state, batch, jax.random.key(0))
    assert "remat2" in {equation.primitive.name for equation in program.eqns}


def test_the_moving_average_follows_its_recurrence_and_is_what_is_evaluated():
    engine = engine_of(ema_decay=0.8)
    state = engine.initial_state()
    expected = jax.device_get(state.params)
    for step in range(20):
        batch = engine.batch(range(step, step + 1))
        state, _ = engine.program(batch, 1).call(state, batch)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = jax.tree.map(lambda a, w, d=decay: d * a + (1 - d) * np.asarray(w), expected, state.params)
    assert_close(state.average, expected, rtol=1e-5)
    assert state.evaluated_params is state.average
    assert trained(engine_of(), 1).average is None


def test_bfloat16_computes_in_it_and_keeps_float32():
    seen = []

    def watched(params, model_state, batch, rng, train):
        seen.extend(leaf.dtype for leaf in jax.tree.leaves((params, batch["inputs"])))
        assert batch["lengths"].dtype == batch["labels"].dtype == jnp.int32
        return engine.experiment.loss(params, model_state, batch, rng, train)

    engine = engine_of(norm=True)
    mixed_config = dataclasses.replace(
        engine.config, train=dataclasses.replace(engine.config.train, precision="bfloat16")
    )
    mixed = Engine(dataclasses.replace(engine.experiment, loss=watched), mixed_config)
    state = trained(mixed)
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    for leaf in jax.tree.leaves((state.params, state.model_state, state.opt_state, state.metrics)):
        assert leaf.dtype in (jnp.float32, jnp.int32)
    full = trained(engine)
    losses = [float(one.metrics["loss"].value()) for one in (full, state)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
