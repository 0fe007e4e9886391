"""A step that is not finite ends the run before it does harm, and is traced to its origin."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train import loop
from dlcore.train.engine import Engine, Program
from dlcore.train.faults.nonfinite import NonFiniteError, first_bad_operation
from dlcore.train.telemetry.metrics_log import read_metrics
from tests.helpers import sequence_toy

BAD_STEP = 37


def sequence_run(**train):
    config = sequence_toy.Config()
    config.train = dataclasses.replace(config.train, steps=60, log_every=10, eval_every=20, **train)
    config.checkpoint.every = 10
    return sequence_toy.experiment(config), config


@pytest.fixture
def poisoned(monkeypatch):
    """NaN in one value of the second layer's kernel before step 37, put there from outside the step."""
    run_call = loop.run_call

    def poisoning(engine, state, work, recorder):
        if work.steps.start == BAD_STEP:
            kernel = state.params["Dense_0"]["kernel"].at[3, 1].set(jnp.nan)
            dense = {**state.params["Dense_0"], "kernel": kernel}
            state = state.replace(params={**state.params, "Dense_0": dense})
        return run_call(engine, state, work, recorder)

    monkeypatch.setattr(loop, "run_call", poisoning)


def test_nan_in_a_parameter_stops_the_run_names_it_and_keeps_good_checkpoints(
    poisoned, tmp_path, monkeypatch
):
    experiment, config = sequence_run()
    monkeypatch.setattr(jax, "transfer_guard", lambda _: jax.transfer_guard_device_to_device("allow"))
    with pytest.raises(NonFiniteError) as stopped:
        loop.train(Engine(experiment, config), tmp_path)
    message = str(stopped.value)
    assert message.startswith(
        "step 37: params/Dense_0/kernel (8, 3) has NaN in 1 of 24 values, first at (3, 1)"
    )
    assert stopped.value.step == BAD_STEP
    rows = read_metrics(tmp_path / "metrics.csv")
    assert max(step for step, _, _ in rows) == 30
    assert all(np.isfinite(value) for _, _, value in rows)
    aside = tmp_path / "nonfinite" / "step_37"
    batch = np.load(aside / "batch.npz")
    np.testing.assert_array_equal(batch["inputs"], experiment.train_data[BAD_STEP]["inputs"])
    assert (aside / "state").is_dir()
    assert (aside / "reason.txt").read_text().startswith("params/Dense_0/kernel")
    monkeypatch.undo()
    engine = Engine(experiment, config)
    with loop.open_checkpoints(engine, tmp_path) as checkpoints:
        newest = checkpoints.newest_good()
        state = checkpoints.restore(Engine(experiment, config).abstract_state, newest)
    assert newest == 30
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    finished = loop.train(Engine(experiment, config), tmp_path)  # without the poison it goes on
    assert int(finished.state.step) == 60


def exploding(experiment, step):
    """The same experiment with data whose batch of one step is so large that the loss is not finite."""

    class Data:
        batch_size, examples = experiment.train_data.batch_size, experiment.train_data.examples

        def __getitem__(self, number):
            batch = experiment.train_data[number]
            return {**batch, "inputs": batch["inputs"] * np.float32(np.nan)} if number == step else batch

    return dataclasses.replace(experiment, train_data=Data())


@pytest.mark.parametrize("steps_per_call", [1, 5])
def test_a_bad_batch_is_named(tmp_path, steps_per_call):
    experiment, config = sequence_run(steps_per_call=steps_per_call)
    config.train.steps = 20
    with pytest.raises(
        NonFiniteError, match=r"step 13: batch/inputs \(8, 9, 2\) has NaN in .* before the step"
    ):
        loop.train(Engine(exploding(experiment, 13), config), tmp_path)


def test_raise_stops_behind_that_very_step(tmp_path):
    experiment, config = sequence_run(on_nan="raise")
    read = []

    class Recorded:
        batch_size = 8

        def __getitem__(self, step):
            read.append(step)
            return exploding(experiment, 13).train_data[step]

    with pytest.raises(NonFiniteError, match="step 13"):
        loop.train(Engine(dataclasses.replace(experiment, train_data=Recorded()), config), tmp_path)
    assert max(read) <= 13 + config.train.prefetch + 1


def test_skip_leaves_the_update_away_and_counts_it(tmp_path):
    experiment, config = sequence_run(on_nan="skip")
    config.train.steps = 20
    finished = loop.train(Engine(exploding(experiment, 13), config), tmp_path)
    assert int(finished.state.step) == 20
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(finished.state.params))
    fractions = {
        step: value
        for step, name, value in read_metrics(tmp_path / "metrics.csv")
        if name == "train/nonfinite_fraction"
    }
    assert fractions == {10: 0.0, 20: pytest.approx(0.1)}

    engine = Engine(exploding(experiment, 0), config)
    batch = engine.batch(range(1))
    before = jax.device_get(engine.initial_state())
    after, _ = engine.program(batch, 1).call(engine.initial_state(), batch)
    assert int(after.step) == 1
    for name in ("params", "opt_state", "model_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, name), getattr(after, name))


def steep(experiment, slope):
    """The same experiment, in whose gradient ``slope`` stands for one kernel's entry; the loss does not show it."""

    @jax.custom_vjp
    def hidden(kernel):
        return jnp.zeros(())

    hidden.defvjp(
        lambda kernel: (jnp.zeros(()), kernel),
        lambda kernel, _: (jnp.zeros_like(kernel).at[3, 1].set(slope),),
    )

    def loss(params, *rest):
        value, aux = experiment.loss(params, *rest)
        return value + hidden(params["Dense_0"]["kernel"]), aux

    return dataclasses.replace(experiment, loss=loss)


def after_one_step(experiment, config):
    engine = Engine(experiment, config)
    batch = engine.batch(range(1))
    return engine.program(batch, 1).call(engine.initial_state(), batch)[0]


@functools.cache
def zeroed(slope):
    experiment, config = sequence_run(on_nan="zero")
    return after_one_step(steep(experiment, slope), config)


@pytest.mark.parametrize("slope", [np.inf, np.nan])
def test_zero_goes_by_what_is_finite_of_the_gradient_and_counts_it(slope):
    after, without = zeroed(slope), zeroed(0.0)
    assert int(after.step) == 1
    assert np.isclose(after.metrics["nonfinite_fraction"].value(), 1)
    assert np.isclose(without.metrics["nonfinite_fraction"].value(), 0)
    ours, theirs = (np.asarray(state.params["Dense_0"]["kernel"]) for state in (after, without))
    assert np.isfinite(ours).all()
    others = np.ones(ours.shape, bool)
    others[3, 1] = False
    np.testing.assert_allclose(ours[others], theirs[others], rtol=1e-3)


def test_zero_skips_a_step_whose_loss_is_not_finite():
    experiment, config = sequence_run(on_nan="zero")
    before = Engine(experiment, config).initial_state()
    after = after_one_step(exploding(experiment, 0), config)
    assert int(after.step) == 1
    assert np.isclose(after.metrics["nonfinite_fraction"].value(), 1)
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)


def test_a_gradient_whose_square_is_no_float_is_clipped_or_stops_the_run():
    """Unclipped, it would end in Adam's memory as an infinite square, and no later step would move."""
    experiment, config = sequence_run()
    clipped = after_one_step(steep(experiment, 1e25), config)
    assert int(clipped.step) == 1
    assert np.isclose(clipped.metrics["gradient_norm"].value(), 1e25, rtol=1e-5)
    assert np.isclose(clipped.metrics["gradient_norm_clipped"].value(), config.optimizer.clip_norm)
    config.optimizer.clip_norm = None
    stopped = after_one_step(steep(experiment, 1e25), config)
    assert (int(stopped.step), int(stopped.bad_step)) == (0, 0)


def test_the_operation_and_its_layer_are_named_where_all_leaves_are_finite(tmp_path, make_toy):
    toy = make_toy()

    def loss(params, model_state, batch, rng, train):
        value, (state, metrics) = toy.experiment.loss(params, model_state, batch, rng, train)
        with jax.named_scope("penalty"):
            return value + jnp.log(params["Dense_0"]["bias"] - 1).sum(), (state, metrics)

    with pytest.raises(
        NonFiniteError, match=r"step 0: gradient|step 0: loss .* first made by log in .*penalty"
    ):
        loop.train(Engine(dataclasses.replace(toy.experiment, loss=loss), toy.config), tmp_path)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: jnp.exp(x * 1000), "exp"),
        (lambda x: jnp.sqrt(x - 2), "sqrt"),
        (lambda x: jax.jit(lambda y: 1 / (y - 1))(x), "div"),
        (lambda x: jnp.where(x > 0, x, -jnp.inf), None),  # a constant Inf that is not chosen is no fault
        (lambda x: jax.lax.scan(lambda c, _: (c * 1e30, None), x, None, length=3)[0], "scan"),
        (lambda x: jax.grad(lambda y: jnp.sqrt(jnp.abs(y - 1)))(x), "div"),
    ],
)
def test_the_first_bad_operation(function, expected):
    found = first_bad_operation(jax.make_jaxpr(function)(1.0), [1.0])
    assert found in expected.split("|") if expected else found is None


def test_a_state_that_has_stopped_does_not_move_again():
    experiment, config = sequence_run()
    engine = Engine(exploding(experiment, 0), config)
    state, batches = engine.initial_state(), [engine.batch(range(step, step + 1)) for step in (0, 1)]
    before = jax.device_get(state)
    for batch in batches:
        program: Program = engine.program(batch, 1)
        state, bad_step = program.call(state, batch)
    assert int(bad_step) == 0
    after = jax.device_get(state)
    jax.tree.map(np.testing.assert_array_equal, before, after.replace(bad_step=before.bad_step))
