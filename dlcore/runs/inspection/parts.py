"""What a run has on its devices: batches, parameters and the rest of its state, as shapes and shardings."""

import collections
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec

from dlcore.data.batch import pad_rows, with_rows
from dlcore.data.pipeline import batch_of
from dlcore.training.engine import Engine
from dlcore.training.experiment import data_name
from dlcore.training.mesh import DATA, batch_sharding
from dlcore.utils.trees import named_leaves

Shapes = dict[str, jax.ShapeDtypeStruct]
"""The shapes and types of a batch's fields by name."""

REPLICATED = "replicated"


class BatchField(NamedTuple):
    """A field of a batch.

    Attributes:
        data: its data: ``train_data``, ``eval_data``, or ``eval_data['dev']``.
        name: the field's name.
        shape: its shape, ``(B, ...)``.
        dtype: its type on the devices.
    """

    data: str
    name: str
    shape: tuple[int, ...]
    dtype: str


class Parameter(NamedTuple):
    """An array of parameters.

    Attributes:
        path: its path, such as ``dense/kernel``.
        shape: its shape.
        dtype: its type.
        size: number of its entries, as in NumPy.
        spec: the mesh axis of each dimension that is split, as in sharding rules, or `REPLICATED`.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    spec: str


class Part(NamedTuple):
    """A part of what the devices hold.

    Attributes:
        name: such as ``parameters`` or ``optimizer``.
        arrays: number of its arrays.
        bytes: the size of all of them.
        device_bytes: the size of what one device holds of them.
        spec: how many arrays are split along which axes.
    """

    name: str
    arrays: int
    bytes: int
    device_bytes: int
    spec: str


def train_shapes(engine: Engine) -> Shapes:
    """The shapes of a training batch: that of step 0, or of the longest one if its data knows which that is."""
    data = engine.experiment.train_data
    return with_rows(batch_of(data, getattr(data, "longest_step", 0), "train_data"), 1)


def eval_shapes(engine: Engine) -> dict[str, Shapes]:
    """The shapes of the first batch of each evaluation set, by what error messages call it.

    The batch is filled up until the data axis divides its rows, as in an evaluation.
    """
    shards = engine.mesh.shape[DATA]
    sets = {data_name(name): data for name, data in engine.experiment.eval_sets.items()}
    return {name: with_rows(pad_rows(name, next(iter(data)), shards), 1) for name, data in sets.items()}


def batch_fields(batches: Mapping[str, Shapes]) -> tuple[BatchField, ...]:
    """The fields of batches by the name of their data."""
    return tuple(
        BatchField(data, name, field.shape, str(field.dtype))
        for data, fields in batches.items()
        for name, field in fields.items()
    )


def parameters(engine: Engine) -> tuple[Parameter, ...]:
    """The parameters of the model in the order of their paths."""
    return tuple(
        Parameter(path, leaf.shape, str(leaf.dtype), math.prod(leaf.shape), spec_text(leaf))
        for path, leaf in named_leaves(engine.abstract_state.params).items()
    )


def state_parts(engine: Engine) -> tuple[Part, ...]:
    """The parts of the `TrainState` that have arrays."""
    state = engine.abstract_state
    parts = {
        "parameters": state.params,
        "average": state.average,
        "model state": state.model_state,
        "optimizer": state.opt_state,
        "metrics, counters": (state.step, state.bad_step, state.metrics, state.remainders),
    }
    return tuple(part_of(name, tree) for name, tree in parts.items() if jax.tree.leaves(tree))


def batch_part(engine: Engine, shapes: Shapes) -> Part:
    """A training batch on the devices, split over the data axis."""
    sharding = batch_sharding(engine.mesh)
    placed = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding) for leaf in shapes.values()]
    return part_of("batch", placed)


def part_of(name: str, tree: Any) -> Part:
    """A part of that name, which holds the arrays of a tree of ``jax.ShapeDtypeStruct`` with shardings."""
    leaves = jax.tree.leaves(tree)
    split = collections.Counter(map(spec_text, leaves))
    return Part(
        name,
        len(leaves),
        sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves),
        device_bytes(leaves),
        next(iter(split))
        if len(split) == 1
        else ", ".join(f"{count} {spec}" for spec, count in split.items()),
    )


def device_bytes(leaves: Iterable[Any]) -> int:
    """The bytes of arrays, given as ``jax.ShapeDtypeStruct`` with shardings, that one device holds."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


def spec_text(leaf: Any) -> str:
    """How an array is split: ``(None, 'model')``, or `REPLICATED`."""
    spec: PartitionSpec = leaf.sharding.spec
    return str(tuple(spec)) if any(axis is not None for axis in spec) else REPLICATED
