"""Evaluation of streams: metrics of windows equal those of whole documents, and the training's state stays."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AbstractMesh, PartitionSpec

import dlcore as dl
from dlcore.training import loop
from dlcore.training.contract import check_model
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate
from dlcore.training.stream_evaluation import has_streams, initial_streams, stream_shardings
from tests.helpers import plain_toy
from tests.helpers.bits import assert_same_bits

LENGTHS = (7, 2, 5)
INPUTS = np.random.default_rng(0).normal(size=(sum(LENGTHS), 2))
TARGETS = np.random.default_rng(1).normal(size=(sum(LENGTHS), 1))
STREAM = {"inputs": INPUTS, "targets": TARGETS}
DECAY = 0.75


class Model(nn.Module):
    """A stream whose initial carry is not 0."""

    @nn.compact
    def __call__(self, inputs, lengths=None, *, resets=None, train):
        cell = dl.RNNCell(3, carry_init=nn.initializers.ones, param_dtype=jnp.float64)
        _, outputs = dl.Stateful(dl.Recurrent(cell))(inputs, lengths, resets, train=train)
        return nn.Dense(1, param_dtype=jnp.float64)(outputs)


def in_flax(eval_data):
    train_data = dl.data.StreamBatches(STREAM, 2, 0, 3, document_lengths=LENGTHS)
    return dl.Experiment.from_flax(
        Model(), loss=dl.losses.regression, train_data=train_data, eval_data=eval_data, best="loss"
    )


def engine_of(experiment):
    return Engine(experiment, plain_toy.Config())


def reference(params):
    """The mean squared error over whole documents, by a loop."""
    cell, dense = params["RNNCell_0"], params["Dense_0"]
    errors = []
    for inputs, targets in zip(split(INPUTS), split(TARGETS), strict=True):
        hidden = np.ones(3)
        for step, target in zip(inputs, targets, strict=True):
            hidden = np.tanh(step @ cell["input_kernel"] + hidden @ cell["recurrent_kernel"] + cell["bias"])
            errors.append((hidden @ dense["kernel"] + dense["bias"] - target) ** 2)
    return np.mean(errors)


def split(field):
    return np.split(field, np.cumsum(LENGTHS)[:-1])


def test_metrics_of_windows_are_those_of_whole_documents():
    with jax.enable_x64(True):
        engine = engine_of(in_flax(dl.data.StreamEvaluation(STREAM, 2, 3, document_lengths=LENGTHS)))
        check_model(engine.experiment)
        generator = np.random.default_rng(2)
        state = jax.tree.map(
            lambda leaf: generator.normal(size=leaf.shape).astype(leaf.dtype), engine.abstract_state
        )
        before = jax.tree.map(np.copy, state.model_state)
        for _ in range(2):  # the second evaluation begins anew
            assert evaluate(engine, state)["loss"] == pytest.approx(reference(state.params), rel=1e-10, abs=0)
        jax.tree.map(np.testing.assert_array_equal, before, state.model_state)


def loss_in_jax(params, model_state, batch, rng, train):
    """The squared distance of the targets to ``h_t = DECAY h_(t-1) + w x_t``."""
    state = batch.get("carry", model_state["carry"])
    state = jnp.where(batch["resets"], 0, state) if "resets" in batch else state
    hidden = []
    for index in range(batch["inputs"].shape[1]):
        valid = index < batch["lengths"]
        state = jnp.where(valid, DECAY * state + params["weight"] * batch["inputs"][:, index, 0], state)
        hidden.append(state)
    outputs, targets = jnp.stack(hidden, axis=1), batch["targets"][..., 0]
    loss, metrics = dl.losses.regression(outputs, {**batch, "targets": targets})
    return loss, ({"carry": state}, metrics)


def in_jax(eval_data, loss=loss_in_jax):
    def init(rng, batch):
        return {"weight": jnp.float32(1.5)}, {"carry": jnp.zeros(len(batch["inputs"]))}

    train_data = dl.data.StreamBatches(STREAM, 2, 0, 3)
    return dl.Experiment(init, loss, train_data, eval_data, best="loss")


@pytest.mark.slow
def test_a_model_in_plain_jax_reads_its_streams_from_the_batch():
    stream = {name: field.astype(np.float32) for name, field in STREAM.items()}
    engine = engine_of(in_jax(dl.data.StreamEvaluation(stream, 2, 2, document_lengths=LENGTHS)))
    check_model(engine.experiment)
    errors = []
    for inputs, targets in zip(split(INPUTS), split(TARGETS), strict=True):
        hidden = 0.0
        for step, target in zip(inputs[:, 0], targets[:, 0], strict=True):
            hidden = DECAY * hidden + 1.5 * step
            errors.append((hidden - target) ** 2)
    value = evaluate(engine, engine.initial_state())["loss"]
    assert value == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.slow
def test_a_run_of_streams_that_goes_on_has_the_same_bits(tmp_path):
    """It stops within its second epoch of three batches, and its evaluations change no state of the training."""
    stream = {name: field.astype(np.float32) for name, field in STREAM.items()}

    def run(folder, steps, eval_every):
        data = dl.data.StreamBatches(stream, 2, 0, 3, document_lengths=LENGTHS, shuffle=True)
        assert data.batches_per_epoch == 3
        evaluation = dl.data.StreamEvaluation(stream, 3, 2, document_lengths=LENGTHS)
        experiment = dataclasses.replace(in_jax(evaluation), train_data=data)
        config = plain_toy.Config()
        config.train = dataclasses.replace(
            config.train, steps=steps, log_every=2, eval_every=eval_every, batch_size=2
        )
        config.checkpoint.every = 4
        folder.mkdir(exist_ok=True)
        return loop.train(Engine(experiment, config), folder)

    whole = run(tmp_path / "whole", dl.Duration("3epochs"), 3)
    run(tmp_path / "parts", 4, 4)
    parts = run(tmp_path / "parts", 9, 1)
    assert int(whole.state.step) == int(parts.state.step) == 9
    for name in ("params", "model_state", "opt_state"):
        assert_same_bits(getattr(whole.state, name), getattr(parts.state, name))
    assert whole.evaluation == parts.evaluation


def test_a_loss_that_does_not_return_its_streams_is_refused():
    def loss(params, model_state, batch, rng, train):
        value, (new_state, metrics) = loss_in_jax(params, model_state, batch, rng, train)
        return value, (new_state if train else model_state, metrics)

    experiment = in_jax(dl.data.StreamEvaluation(STREAM, 3, 2, document_lengths=LENGTHS), loss)
    with pytest.raises(
        TypeError, match=r"loss: got a model_state with float32\[2\] at carry, expected .*\[3\]"
    ):
        check_model(experiment)


def test_only_batches_with_resets_of_a_model_with_streams_are_streams():
    batch = {"inputs": INPUTS, "resets": np.ones(1, bool)}
    assert has_streams({"carry": {}}, batch)
    assert not has_streams({"carry": {}}, {"inputs": INPUTS})
    assert not has_streams({"batch_stats": {}}, batch)
    assert not has_streams((), batch)


def test_the_axis_of_rows_is_split_whatever_the_layer():
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, inputs, lengths, *, resets, train):
            layer = dl.DeepRecurrent(dl.LSTMCell(4), layers=3)  # as many units as rows
            return dl.Stateful(layer)(inputs, lengths, resets, train=train)[1]

    data = dl.data.StreamEvaluation({"inputs": INPUTS}, 4, 2, document_lengths=(4, 4, 4, 2))
    experiment = dl.Experiment.from_flax(Deep(), loss=dl.losses.regression, train_data=data, eval_data=data)
    mesh = AbstractMesh((4, 1), ("data", "model"))
    specs = [leaf.spec for leaf in jax.tree.leaves(stream_shardings(experiment, mesh, data[0]))]
    assert specs == [PartitionSpec(None, "data")] * 2
    streams = jax.eval_shape(lambda: initial_streams(experiment, data[0]))
    assert {leaf.shape for leaf in jax.tree.leaves(streams)} == {(3, 4, 4)}
