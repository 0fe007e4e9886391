"""What a run has on its devices, against what its arrays say when they are there."""

import dataclasses

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.runs.inspection.parts import (
    REPLICATED,
    BatchField,
    Parameter,
    Part,
    batch_fields,
    batch_part,
    eval_shapes,
    parameters,
    part_of,
    state_parts,
    train_shapes,
)
from dlcore.training.engine import Engine
from tests.helpers import plain_toy
from tests.helpers.plain_toy import make_engine


def size(tree):
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))


def test_the_fields_are_those_of_the_batches_on_the_devices():
    engine = make_engine()
    placed = {
        "train_data": engine.batch(range(1)),
        "eval_data": engine._place_eval_batch(next(iter(engine.experiment.eval_data))),
    }
    shapes = {"train_data": train_shapes(engine), **eval_shapes(engine)}
    assert batch_fields(shapes) == tuple(
        BatchField(data, name, field.shape, str(field.dtype))
        for data, batch in placed.items()
        for name, field in batch.items()
    )


def test_each_evaluation_set_has_its_first_batch():
    engine = make_engine()
    short = [{name: field[:3] for name, field in plain_toy.arrays().items()}]
    sets = {"dev": engine.experiment.eval_data, "test": short}
    engine = Engine(dataclasses.replace(engine.experiment, eval_data=sets, best="dev/loss"), engine.config)
    shapes = eval_shapes(engine)
    assert {name: fields["inputs"].shape[0] for name, fields in shapes.items()} == {
        "eval_data['dev']": 10,
        "eval_data['test']": 3,
    }


def test_of_buckets_the_longest_batch_counts():
    arrays = {**plain_toy.arrays(), "lengths": np.array([1] * 32 + [5] * 8, np.int32)}
    data = dl.data.BucketedBatches(arrays, 8, seed=0, boundaries=(1, 5))
    engine = make_engine()
    engine = Engine(dataclasses.replace(engine.experiment, train_data=data), engine.config)
    assert train_shapes(engine)["inputs"].shape == (8, 5, 2)


def test_the_state_has_the_bytes_of_its_arrays():
    engine = make_engine(ema_decay=0.9)
    state = engine.initial_state()
    found = {part.name: part for part in state_parts(engine)}
    assert {name: (part.arrays, part.bytes) for name, part in found.items()} == {
        "parameters": (2, size(state.params)),
        "average": (2, size(state.average)),
        "model state": (1, size(state.model_state)),
        "optimizer": (len(jax.tree.leaves(state.opt_state)), size(state.opt_state)),
        "metrics, counters": (
            len(jax.tree.leaves((state.metrics, state.remainders))) + 2,
            size((state.metrics, state.remainders, state.step, state.bad_step)),
        ),
    }
    assert all(part.device_bytes == part.bytes and part.spec == REPLICATED for part in found.values())


def test_parameters_have_their_paths_shapes_and_sizes():
    assert parameters(make_engine()) == (
        Parameter("bias", (4,), "float32", 4, REPLICATED),
        Parameter("weights", (2, 4), "float32", 8, REPLICATED),
    )


@pytest.fixture
def mesh():
    return jax.sharding.AbstractMesh((4, 2), ("data", "model"))


def test_a_device_holds_its_shard_of_what_is_split(mesh):
    def leaf(shape, dtype, *axes):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    tree = {
        "a": leaf((8, 6), "float32", None, "model"),
        "b": leaf((8, 6), "float32", None, "model"),
        "c": leaf((4,), "bfloat16", "data"),
        "d": leaf((), "int32"),
        "e": leaf((3,), "int32", None),
    }
    part = part_of("all", tree)
    assert part == Part(
        "all",
        5,
        2 * 8 * 6 * 4 + 4 * 2 + 4 + 12,
        2 * 8 * 3 * 4 + 2 + 4 + 12,
        "2 (None, 'model'), 1 ('data',), 2 replicated",
    )


def test_a_batch_is_split_over_the_data_axis():
    engine = make_engine()
    shapes = train_shapes(engine)
    part = batch_part(engine, shapes)
    assert (part.arrays, part.spec) == (3, "('data',)")
    assert part.bytes == part.device_bytes == size(engine.host_batch(0))
