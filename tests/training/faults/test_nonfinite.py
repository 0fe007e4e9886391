"""A step that is not finite ends the run before it does harm, and the error names the origin."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.faults.nonfinite import NonFiniteError, find_origin, first_bad_operation
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers import plain_toy
from tests.helpers.plain_toy import make_engine

BAD_STEP = 7


def with_nan_batch(engine, bad_step=None, **fields):
    """The same engine with NaN in the batch of one step, or of all steps, and with more fields in every batch."""

    class Data:
        batch_size, examples = 8, 40

        def __getitem__(self, step):
            batch = {**engine.experiment.train_data[step], **fields}
            nan = bad_step in (None, step)
            return {**batch, "inputs": batch["inputs"] * np.float32(np.nan)} if nan else batch

    return Engine(dataclasses.replace(engine.experiment, train_data=Data()), engine.config)


@pytest.fixture
def poisoned(monkeypatch):
    """Puts NaN into one weight before the bad step, from outside of the step."""
    run_call = loop.run_call

    def poison(engine, state, inputs, recorder):
        if inputs.steps.start == BAD_STEP:
            with jax.transfer_guard("allow"):
                weights = state.params["weights"].at[1, 3].set(jnp.nan)
            state = state.replace(params={**state.params, "weights": weights})
        return run_call(engine, state, inputs, recorder)

    monkeypatch.setattr(loop, "run_call", poison)
    return monkeypatch


def test_nan_in_a_parameter_stops_the_run_is_named_and_leaves_good_checkpoints(poisoned, tmp_path):
    engine = make_engine()
    with pytest.raises(NonFiniteError) as stopped:
        loop.train(engine, tmp_path)
    message = str(stopped.value)
    assert message.startswith("step 7: params/weights (2, 4) has NaN in 1 of 8 values, first at (1, 3)")
    assert "the newest checkpoint is of step 6; in another run, a smaller" in message
    assert stopped.value.step == BAD_STEP
    rows = read_metrics(tmp_path / "metrics.csv")
    assert max(step for step, _, _ in rows) == 6
    assert all(np.isfinite(value) for _, _, value in rows)
    evidence = tmp_path / "nonfinite" / "step_7"
    batch = np.load(evidence / "batch.npz")
    np.testing.assert_array_equal(batch["inputs"], engine.experiment.train_data[BAD_STEP]["inputs"])
    assert (evidence / "state").is_dir()
    assert (evidence / "reason.txt").read_text().startswith("params/weights")
    poisoned.undo()
    finished = loop.train(make_engine(), tmp_path)  # without the poison, the run continues
    assert int(finished.state.step) == 12
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(finished.state.params))


@pytest.mark.parametrize("steps_per_call", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_bad_batch_is_named(tmp_path, steps_per_call):
    engine = with_nan_batch(make_engine(steps_per_call=steps_per_call), 4)
    with pytest.raises(
        NonFiniteError, match=r"step 4: batch/inputs \(8, 5, 2\) has NaN in .* before the step"
    ):
        loop.train(engine, tmp_path)


def test_raise_stops_after_the_bad_step_itself(tmp_path):
    engine = with_nan_batch(make_engine(on_nan="raise"), 4)
    data, read = engine.experiment.train_data, []

    class Recorded:
        batch_size = 8

        def __getitem__(self, step):
            read.append(step)
            return data[step]

    recorded = Engine(dataclasses.replace(engine.experiment, train_data=Recorded()), engine.config)
    with pytest.raises(NonFiniteError, match=r"step 4.*there was no checkpoint yet; correct the data"):
        loop.train(recorded, tmp_path)
    assert max(read) <= 4 + engine.config.train.prefetch + 1


def test_skip_leaves_the_update_out_and_logs_it(tmp_path):
    finished = loop.train(with_nan_batch(make_engine(on_nan="skip"), 4), tmp_path)
    assert int(finished.state.step) == 12
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(finished.state.params))
    rows = read_metrics(tmp_path / "metrics.csv")
    fractions = {step: value for step, name, value in rows if name == "train/nonfinite_fraction"}
    assert fractions == {3: 0, 6: pytest.approx(1 / 3), 9: 0, 12: 0}


def test_a_run_whose_every_step_is_skipped_ends_with_an_error(tmp_path):
    with pytest.raises(
        NonFiniteError, match=r"step 12: the update of every step was left out, .*learned nothing"
    ):
        loop.train(with_nan_batch(make_engine(on_nan="skip")), tmp_path)
    names = {name for _, name, _ in read_metrics(tmp_path / "metrics.csv") if name.startswith("train/")}
    assert names == {"train/nonfinite_fraction"}  # no loss of 0, and no learning rate, since none was used


def test_a_field_of_any_name_is_in_the_evidence(tmp_path):
    """The arguments of ``np.savez`` are called ``file`` and ``allow_pickle``."""
    fields = {"file": np.arange(8), "allow_pickle": np.ones((8, 2), np.float32)}
    with pytest.raises(NonFiniteError, match=r"step 4: batch/inputs \(8, 5, 2\) has NaN"):
        loop.train(with_nan_batch(make_engine(on_nan="raise"), 4, **fields), tmp_path)
    with np.load(tmp_path / "nonfinite" / "step_4" / "batch.npz") as batch:
        assert set(batch) == {"inputs", "lengths", "targets", *fields}
        for name, field in fields.items():
            np.testing.assert_array_equal(batch[name], field)


def test_nan_in_the_evaluation_set_ends_the_run_with_an_error(tmp_path):
    engine = make_engine()
    arrays = plain_toy.arrays()
    arrays["inputs"][np.flatnonzero(arrays["lengths"])[0], 0] = np.nan
    experiment = dataclasses.replace(engine.experiment, eval_data=dl.data.PaddedBatches(arrays, 10))
    with pytest.raises(
        NonFiniteError, match="step 6: the evaluation's loss is NaN, first in batch 0 of eval_data: inputs"
    ):
        loop.train(Engine(experiment, engine.config), tmp_path)


def origin_of(loss):
    """What `find_origin` says about a step of the toy with another loss."""
    engine = make_engine()
    experiment = dataclasses.replace(engine.experiment, loss=loss)
    state = plain_toy.make_state(engine)
    return find_origin(Engine(experiment, engine.config), state, engine.experiment.train_data[0])


def test_the_operation_and_its_layer_are_named_if_all_leaves_are_finite():
    def loss(params, model_state, batch, rng, train):
        with jax.named_scope("penalty"):
            return jnp.log(params["bias"] - 1).sum(), (model_state, {})

    assert origin_of(loss) == "loss () has NaN in 1 of 1 values, first made by log in jvp(penalty)"


def test_a_gradient_whose_norm_overflows_is_named():
    loss = lambda params, model_state, batch, rng, train: (3e38 * params["bias"].sum(), (model_state, {}))
    assert "global norm overflows, though every gradient is finite" in origin_of(loss)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: jnp.exp(x * 1000), "exp"),
        (lambda x: jnp.sqrt(x - 2), "sqrt"),
        (lambda x: jax.jit(lambda y: 1 / (y - 1))(x), "div"),
        (lambda x: jnp.where(x > 0, x, -jnp.inf), None),  # a constant Inf that is not chosen is no fault
        (lambda x: jax.lax.scan(lambda c, _: (c * 1e30, None), x, None, length=3)[0], "scan"),
        (lambda x: jax.grad(lambda y: jnp.sqrt(jnp.abs(y - 1)))(x), "div"),
        (lambda x: jax.lax.cond(x > 0, lambda y: jax.jit(jnp.log)(y - 2), jnp.sin, x), "log"),
        (lambda x: jax.lax.platform_dependent(x, cpu=lambda y: 1 / (y - 1), default=jnp.tanh), "div"),
    ],
)
def test_the_first_bad_operation_is_found(function, expected):
    assert first_bad_operation(jax.make_jaxpr(function)(1.0), [1.0]) == expected


@pytest.mark.slow
def test_a_label_outside_of_the_classes_is_no_matter_of_the_learning_rate(tmp_path):
    def loss(params, model_state, batch, rng, train):
        value, metrics = dl.losses.classification(batch["inputs"] @ params["kernel"], batch)
        return value, (model_state, metrics)

    arrays = {"inputs": np.ones((8, 2), np.float32), "labels": np.full(8, 3, np.int32)}
    experiment = dl.Experiment(
        init=lambda rng, batch: ({"kernel": jnp.ones((2, 3))}, {}),
        loss=loss,
        train_data=dl.data.ShuffledBatches(arrays, 8, 0),
        eval_data=[arrays],
    )
    config = dl.Config(train=dl.TrainConfig(steps=2, batch_size=8))
    with pytest.raises(
        NonFiniteError, match=r"a label outside of the classes makes the loss NaN; correct the labels$"
    ):
        loop.train(Engine(experiment, config), tmp_path)
