"""Steps of a run on this machine, and the largest batch if its memory is made too small for them."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.runs.inspection import fit
from dlcore.runs.inspection.fit import BatchShapes, compile_steps
from dlcore.runs.inspection.parts import train_shapes
from dlcore.training.engine import Engine
from dlcore.training.targets.target import this_machine
from tests.helpers import dense_toy, plain_toy
from tests.helpers.plain_toy import make_engine


def machine(memory=None):
    return dataclasses.replace(this_machine(), memory=memory)


def dense_engine(rows=512, eval_rows=16, **train):
    config = dense_toy.Config()
    config.train = dataclasses.replace(config.train, batch_size=rows, eval_batch_size=eval_rows, **train)
    return Engine(dense_toy.experiment(config), config)


def test_the_steps_are_those_of_a_training():
    """The same programs as the engine compiles for arrays, which take as much memory."""
    engine = make_engine()
    (training, evaluation), problem = compile_steps(engine, machine(10**9))
    assert problem is None
    batch = engine.batch(range(1))
    program = make_engine().program(batch, 1)
    found = program.call.memory_analysis()
    assert training.memory.arguments == found.argument_size_in_bytes
    assert training.memory.temporaries == found.temp_size_in_bytes
    assert training.flops == program.flops
    assert training.beside == 2 * sum(field.nbytes for field in batch.values())
    assert (training.name, training.rows, training.steps) == ("training", 8, 1)
    assert (evaluation.name, evaluation.rows, evaluation.steps) == ("evaluation", 10, 1)


def test_beside_an_evaluation_stays_the_state_that_it_does_not_get():
    engine = make_engine(ema_decay=0.9)
    (training, evaluation), _ = compile_steps(engine, machine())
    state = engine.initial_state()
    rest = state.replace(average=None, model_state=None)
    kept = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(rest))
    assert evaluation.beside == training.beside + kept


def test_a_call_of_several_steps_gets_all_their_batches():
    (one, _), _ = compile_steps(make_engine(), machine())
    (three, _), _ = compile_steps(make_engine(steps_per_call=3), machine())
    assert (one.steps, three.steps) == (1, 3)
    assert three.beside == 3 * one.beside
    assert three.flops == pytest.approx(one.flops, rel=0.1)


def test_evaluation_sets_of_one_shape_are_compiled_once():
    engine = make_engine()
    data = engine.experiment.eval_data
    short = [{name: field[:3] for name, field in plain_toy.arrays().items()}]
    sets = {"dev": data, "test": data, "short": short}
    engine = Engine(dataclasses.replace(engine.experiment, eval_data=sets, best="dev/loss"), engine.config)
    steps, _ = compile_steps(engine, machine())
    assert [(step.name, step.rows) for step in steps] == [
        ("training", 8),
        ("evaluation of eval_data['dev'], eval_data['test']", 10),
        ("evaluation of eval_data['short']", 3),
    ]


class StreamModel(nn.Module):
    @nn.compact
    def __call__(self, inputs, lengths, *, resets, train):
        layer = dl.Stateful(dl.Recurrent(dl.RNNCell(4)))
        return nn.Dense(1)(layer(inputs, lengths, resets, train=train)[1])


def test_an_evaluation_of_streams_is_compiled_with_the_state_of_its_rows():
    stream = {name: np.zeros((64, 1), np.float32) for name in ("inputs", "targets")}
    experiment = dl.Experiment.from_flax(
        StreamModel(),
        loss=dl.losses.regression,
        train_data=dl.data.StreamBatches(stream, 8, 0, 3),
        eval_data=dl.data.StreamEvaluation(stream, 8, 3),
        best="loss",
    )
    engine = Engine(experiment, plain_toy.Config())
    (_, evaluation), problem = compile_steps(engine, machine())
    assert problem is None
    batch = engine._place_eval_batch(next(iter(experiment.eval_data)))
    state = engine.abstract_state
    given = jax.tree.leaves((state.params, state.model_state, batch))
    streams = 8 * 4 * 4
    used = sum(leaf.size * leaf.dtype.itemsize for leaf in given)
    assert streams <= evaluation.memory.arguments <= used + streams


def largest(problem):
    return int(re.search(r"the largest that fits is (\d+), which needs", problem)[1])


def test_a_training_batch_that_is_too_large_is_refused_with_the_largest_that_fits(capsys):
    memory = compile_steps(dense_engine(200), machine())[0][0].needed
    (training, evaluation), problem = compile_steps(dense_engine(512), machine(memory))
    assert (training.fits, evaluation.fits) == (False, True)
    assert problem.startswith("--config.train.batch_size: got 512, with which training needs ")
    rows = largest(problem)
    assert rows == 200
    assert compile_steps(dense_engine(rows), machine(memory))[1] is None
    assert compile_steps(dense_engine(rows + 8), machine(memory))[0][0].fits is False
    assert f"trying a training batch of {rows} rows" in capsys.readouterr().err


def test_the_largest_batch_can_be_cut_into_micro_batches():
    memory = compile_steps(dense_engine(144, micro_batches=3), machine())[0][0].needed
    _, problem = compile_steps(dense_engine(480, micro_batches=3), machine(memory))
    assert largest(problem) == 144


def test_an_evaluation_batch_that_is_too_large_is_refused_with_the_largest_that_fits():
    memory = compile_steps(dense_engine(8, eval_rows=200), machine())[0][1].needed
    (training, evaluation), problem = compile_steps(dense_engine(8, eval_rows=512), machine(memory))
    assert (training.fits, evaluation.fits) == (True, False)
    assert problem.startswith("--config.train.eval_batch_size: got 512, with which evaluation needs ")
    assert largest(problem) == 200


def test_a_model_that_does_not_fit_at_all_is_said_to():
    steps, problem = compile_steps(dense_engine(64), machine(1000))
    assert [step.fits for step in steps] == [False, False]
    assert "this machine has 1000 B; a batch of 1 does not fit either" in problem
    assert "--config.train.micro_batches" in problem
    assert "eval_batch_size" not in problem  # the first problem comes first


def test_a_smaller_batch_is_known_by_its_shapes_alone():
    engine = make_engine()
    shapes = train_shapes(engine)
    data = BatchShapes(shapes, 8, 40)
    assert data[7] is shapes
    other = fit._with_batch_size(engine, shapes, 4, machine())
    assert other.experiment.train_data.examples == 40
    assert {name: field.shape[0] for name, field in train_shapes(other).items()} == dict.fromkeys(shapes, 4)
