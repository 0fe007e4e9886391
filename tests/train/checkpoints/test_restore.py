"""What is read is what was written, types and places too; what does not fit is refused by name."""

import os
import subprocess
import sys
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.train.checkpoints.manager import Checkpoints
from dlcore.train.checkpoints.restore import stored_tree
from dlcore.train.config import CheckpointConfig


@flax.struct.dataclass
class State:
    """As a `TrainState`, with every kind of node and leaf in it."""

    step: Any
    params: Any
    model_state: Any
    opt_state: Any
    average: Any = None


@flax.struct.dataclass
class Part:
    """Those fields that an evaluation needs."""

    params: Any
    model_state: Any


def state_of(optimizer, seed=0, average=False):
    kernel = jax.random.normal(jax.random.key(seed), (3, 4))
    params = {"dense": {"kernel": kernel, "bias": jnp.ones(4, jnp.bfloat16)}, "gates": (kernel + 1, None)}
    model_state = {
        "batch_stats": {"norm": {"mean": kernel[0], "var": kernel[1]}},
        "rng": jax.random.key(seed),
    }
    opt_state = optimizer.init(params)
    return State(jnp.int32(7), params, model_state, opt_state, params if average else None)


def abstract(tree):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)


def saved(folder, state):
    with Checkpoints(folder, CheckpointConfig(), "score") as checkpoints:
        checkpoints.save(7, state, None)
    return Checkpoints(folder, CheckpointConfig(), "score")


def words(tree):
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf,
        tree,
    )


def assert_same(restored, state):
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for leaf, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == expected.dtype
    jax.tree.map(np.testing.assert_array_equal, words(restored), words(state))


@pytest.mark.parametrize("target", [abstract, lambda state: state])
@pytest.mark.parametrize("average", [False, True])
def test_every_type_comes_back(tmp_path, target, average):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    state = state_of(optimizer, average=average)
    checkpoints = saved(tmp_path, state)
    restored = checkpoints.restore(target(state), 7)
    assert_same(restored, state)
    assert type(restored) is State
    assert type(restored.opt_state[1][0]) is optax.ScaleByAdamState


def test_a_part_is_read_whatever_the_optimizer_was(tmp_path):
    state = state_of(optax.adam(1e-3), average=True)
    checkpoints = saved(tmp_path, state)
    part = {
        "params": state.params,
        "model_state": state.model_state,
        "step": state.step,
        "average": state.average,
    }
    assert_same(checkpoints.restore_model(abstract(part), 7), part)
    same = checkpoints.restore_model(abstract(Part(state.params, state.model_state)), 7)
    assert_same(same, Part(state.params, state.model_state))


def test_a_part_without_an_average(tmp_path):
    state = state_of(optax.sgd(1e-3))
    restored = saved(tmp_path, state).restore_model(abstract({"params": state.params, "average": None}), 7)
    assert_same(restored, {"params": state.params, "average": None})


@pytest.mark.parametrize(
    ("path", "other", "message"),
    [
        ("params", {"dense": {"kernel": np.ones((3, 5))}}, "dense/kernel: checkpoint has .3, 4., this .* .3, 5."),
        ("params", {"head": np.ones(2)}, "params/head: checkpoint has none, this experiment .2,."),
        ("model_state", {}, "model_state/batch_stats/norm/mean: checkpoint has .4,., this experiment none"),
        ("average", {"dense": np.ones(2)}, "average/dense: checkpoint has none, this experiment .2,."),
        ("opt_state", optax.adam(1e-3).init(np.ones(2)), "opt_state/0/count: checkpoint has none"),
    ],
)  # fmt: skip
def test_the_first_leaf_that_differs_is_named(tmp_path, path, other, message):
    state = state_of(optax.sgd(1e-3))
    checkpoints = saved(tmp_path, state)
    with pytest.raises(ValueError, match=message):
        checkpoints.restore(abstract(state.replace(**{path: other})), 7)
    if path != "opt_state":
        with pytest.raises(ValueError, match=message):
            checkpoints.restore_model({path: abstract(other)}, 7)


def test_a_folder_without_a_state(tmp_path):
    with pytest.raises(ValueError, match="got a folder without a state in it, expected a checkpoint"):
        stored_tree(tmp_path)


ON_EIGHT_DEVICES = """
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from dlcore.train import reading

mesh = jax.make_mesh((8,), ("data",))
places = {"split": PartitionSpec("data"), "whole": PartitionSpec()}
target = {
    name: jax.ShapeDtypeStruct((16, 3), jnp.float32, sharding=NamedSharding(mesh, place))
    for name, place in places.items()
}
for state in (reading.read(Path(sys.argv[1]), target), reading.read_part(Path(sys.argv[1]), target)):
    for name, leaf in state.items():
        assert leaf.sharding.is_equivalent_to(target[name].sharding, 2), leaf.sharding
        assert len(leaf.sharding.device_set) == 8
        assert np.array_equal(np.asarray(leaf), np.arange(48).reshape(16, 3))
"""


def test_a_state_of_one_device_is_read_onto_eight(tmp_path):
    values = jnp.arange(48.0).reshape(16, 3)
    saved(tmp_path, {"split": values, "whole": values})
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_EIGHT_DEVICES, str(tmp_path / "7")]
    subprocess.run(command, check=True, env=os.environ | environment)
