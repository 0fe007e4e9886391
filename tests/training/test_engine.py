"""The engine: compiled programs, placed batches, and the settings that must fit each other."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import dlcore as dl
from dlcore.data.batch import pad_rows
from dlcore.training import engine as engine_module
from dlcore.training.engine import Engine
from dlcore.training.evaluation import read_sums
from dlcore.training.step import make_eval_step
from tests.helpers import plain_toy
from tests.helpers.bits import assert_close
from tests.helpers.plain_toy import make_engine


def test_durations_are_steps_of_the_experiments_data():
    engine = make_engine(steps=dl.Duration("2epochs"), eval_every=dl.Duration("50%"))
    assert (engine.config.train.steps, engine.config.train.eval_every) == (10, 5)


def test_settings_that_do_not_fit_each_other_are_refused():
    with pytest.raises(
        ValueError, match=r"micro_batches: got 3 for batches of 8 .* expected 3 x 1 to divide"
    ):
        make_engine(micro_batches=3)
    config = plain_toy.Config()
    config.optimizer.warmup_steps = 13
    with pytest.raises(ValueError, match="warmup_steps: got 13"):
        Engine(plain_toy.experiment(config), config)
    config = plain_toy.Config(init_map=("a=b",))
    with pytest.raises(ValueError, match=r"init_map: got \('a=b',\) without init_from, expected the run"):
        Engine(plain_toy.experiment(config), config)


def test_a_program_is_compiled_once_for_each_batch_shape_and_step_count(monkeypatch):
    engine = make_engine()
    compiled = []
    monkeypatch.setattr(
        engine,
        "_compile",
        lambda batch, count: compiled.append(count) or engine_module.Program(None, 0.5, 0.0),
    )
    first, second = (engine.batch(range(step, step + 1)) for step in (0, 1))
    assert engine.program(first, 1) is engine.program(second, 1)
    shorter = {name: field[:, :3] if field.ndim > 1 else field for name, field in first.items()}
    assert engine.program(shorter, 1) is not engine.program(first, 1)
    engine.program(engine.batch(range(4)), 4)
    assert compiled == [1, 1, 4]
    assert engine.compile_seconds == 1.5


def test_the_evaluation_can_be_compiled_ahead_from_shapes():
    engine = make_engine()
    batch = engine._place_eval_batch(next(iter(engine.experiment.eval_data)))
    program = engine.eval_program(jax.eval_shape(lambda: batch))
    state = engine.initial_state()
    arguments = state.params, state.model_state, batch
    ahead, called = program.call(*arguments)["loss"], engine.eval_step(*arguments)["loss"]
    assert float(ahead.value()) == float(called.value())
    assert program.flops > 0


def test_the_training_can_be_compiled_ahead_from_shapes():
    engine = make_engine()
    shapes = jax.eval_shape(lambda: engine.batch(range(1)))
    program = engine.program(shapes, 1)
    batch = engine.batch(range(1))
    assert engine.program(batch, 1) is program
    state, bad_step = program.call(engine.initial_state(), batch)
    assert (int(state.step), int(bad_step)) == (1, -1)


def test_a_call_of_several_steps_equals_as_many_calls_and_keeps_the_structure_of_the_state():
    engine = make_engine()
    state = engine.initial_state()
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert shapes(state) == shapes(engine.abstract_state)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(state.metrics))
    for step in range(4):
        batch = engine.batch(range(step, step + 1))
        state, bad_step = engine.program(batch, 1).call(state, batch)
    batch = engine.batch(range(4))
    program = engine.program(batch, 4)
    together, bad_step = program.call(engine.initial_state(), batch)
    assert int(bad_step) == -1
    assert int(together.step) == 4
    assert shapes(together) == shapes(engine.abstract_state)
    assert_close(state, together, rtol=1e-5)
    assert program.flops > 0
    assert any(float(leaf) != 0 for leaf in jax.tree.leaves(together.metrics))
    again = engine.with_zero_metrics(together)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(again.metrics))
    assert again.params is together.params
    jax.tree.map(np.testing.assert_array_equal, engine.replicate(together.params), together.params)


def test_steps_are_stacked_along_a_new_axis_unless_their_shapes_differ():
    engine = make_engine()
    one, three = engine.batch(range(1)), engine.batch(range(3))
    assert (one["inputs"].shape, three["inputs"].shape) == ((8, 5, 2), (3, 8, 5, 2))
    np.testing.assert_array_equal(three["lengths"][0], engine.experiment.train_data[0]["lengths"])
    arrays = plain_toy.arrays()
    data = dl.data.BucketedBatches(arrays, 4, seed=0, boundaries=(3,), fields=("inputs", "targets"))
    assert len({data[step]["inputs"].shape for step in range(10)}) == 2
    experiment = dataclasses.replace(engine.experiment, train_data=data)
    with pytest.raises(ValueError, match="steps_per_call: got 10 steps whose batches differ in shape"):
        Engine(experiment, plain_toy.Config()).batch(range(10))


def test_a_process_loads_only_its_rows(monkeypatch):
    """Against the rows of the whole batch, as in the second of four processes."""
    whole = make_engine()
    assert whole.host_batches_per_step == 1
    assert whole.host_batch(3)["inputs"].shape == (8, 5, 2)
    monkeypatch.setattr(engine_module, "process_rows", lambda mesh, size: (2, 4))
    part = make_engine()
    assert part.host_batches_per_step == 4
    for name, field in part.host_batch(3).items():
        np.testing.assert_array_equal(field, whole.host_batch(3)[name][2:4])
    batches = [dict(whole.host_batch(0))]  # a list has no method that loads rows
    listed = Engine(dataclasses.replace(whole.experiment, train_data=batches), plain_toy.Config())
    np.testing.assert_array_equal(listed.host_batch(0)["lengths"], batches[0]["lengths"][2:4])


def test_padding_changes_no_metric():
    engine = make_engine()
    batch = {name: field[:7] for name, field in plain_toy.arrays().items()}
    state, evaluate = plain_toy.make_state(engine), make_eval_step(engine.experiment, engine.config.train)
    values = [
        read_sums(evaluate(state.params, state.model_state, part))
        for part in (batch, pad_rows("eval_data", batch, 4))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_an_optimizer_of_the_experiments_own_is_checked_used_and_its_rates_are_read():
    """The update of sgd is -rate * gradient."""
    asked = []

    def make(config, steps):
        asked.append((config.optimizer.name, config.train.eval_every, steps))
        schedule = optax.linear_schedule(0.5, 0.0, steps)
        sgd = optax.inject_hyperparams(optax.sgd)(schedule)
        return dl.optimizers.by_path({"weights": optax.set_to_zero(), ".*": sgd})

    config = plain_toy.Config()
    config.train.steps, config.train.eval_every = 4, dl.Duration("50%")
    config.optimizer.clip_norm = 1e-3
    engine = Engine(dataclasses.replace(plain_toy.experiment(config), optimizer=make), config)
    assert asked == [("custom", 2, 4)]
    before = jax.device_get(engine.initial_state().params)
    batch = engine.batch(range(2))
    state, _ = engine.program(batch, 2).call(engine.initial_state(), batch)
    params, rates = jax.device_get(state.params), engine.learning_rates(state.opt_state)
    engine.program(batch, 2).call(state, batch)  # takes the buffers of the state, not of the rates
    assert {name: float(rate) for name, rate in rates.items()} == {"learning_rate": 0.375}
    np.testing.assert_array_equal(params["weights"], before["weights"])
    assert 0 < np.linalg.norm(params["bias"]) <= (0.5 + 0.375) * 1e-3  # the bias begins at 0; clipped before

    other = dl.optimizers.by_path({"gru": optax.sgd(1.0), ".*": optax.sgd(1.0)})
    experiment = dataclasses.replace(engine.experiment, optimizer=lambda config, steps: other)
    with pytest.raises(ValueError, match=r"ValueError from its init: transformations: got 'gru'"):
        _ = Engine(experiment, config).abstract_state
