"""A checkpoint comes back with its values, types and placement; one that does not fit is refused by name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.config.files import read_config
from dlcore.training import loop
from dlcore.training.checkpoints.manager import Checkpoints
from dlcore.training.checkpoints.restore import (
    restore_fields,
    restore_leaves,
    restore_state,
    stored_shape,
    stored_tree,
)
from dlcore.training.config import CheckpointConfig
from dlcore.training.run import Run
from dlcore.training.run_folder import claim_folder
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers import toy
from tests.helpers.paths import ROOT

# A run of tests/helpers/toy.py by dlcore 0.1: its config, its checkpoint of step 6, and its metrics up to step 12.
VERSION_0_1 = Path(__file__).parent / "data" / "version_0_1"


@flax.struct.dataclass
class State:
    """Like a `TrainState`, with every kind of node and leaf in it."""

    step: Any
    params: Any
    model_state: Any
    opt_state: Any
    average: Any = None


@flax.struct.dataclass
class Part:
    """The fields that an evaluation needs."""

    params: Any
    model_state: Any


ADAM = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))


def make_state(optimizer, average=False):
    kernel = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    params = {
        "dense": {"kernel": jnp.asarray(kernel), "bias": jnp.ones(4, jnp.bfloat16)},
        "gates": (jnp.asarray(kernel + 1), None),
    }
    model_state = {
        "batch_stats": {"norm": {"mean": jnp.asarray(kernel[0]), "var": jnp.asarray(kernel[1])}},
        "rng": jax.random.key(0),
    }
    return State(jnp.int32(7), params, model_state, optimizer.init(params), params if average else None)


def abstract(tree):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)


def save(folder, state):
    with Checkpoints(folder, CheckpointConfig(), "score") as checkpoints:
        checkpoints.save(7, state, None)
    return folder / "7"


@pytest.fixture(scope="module")
def with_average(tmp_path_factory):
    state = make_state(ADAM, average=True)
    return state, save(tmp_path_factory.mktemp("run"), state)


@pytest.fixture(scope="module")
def without_average(tmp_path_factory):
    state = make_state(optax.sgd(1e-3))
    return state, save(tmp_path_factory.mktemp("run"), state)


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


def test_a_whole_state_comes_back_into_abstract_arrays(with_average):
    state, folder = with_average
    restored = restore_state(folder, abstract(state))
    assert_same(restored, state)
    assert type(restored) is State
    assert type(restored.opt_state[1][0]) is optax.ScaleByAdamState


def test_a_whole_state_comes_back_into_arrays(without_average):
    state, folder = without_average
    assert_same(restore_state(folder, state), state)


def test_a_part_is_restored_whatever_the_optimizer_was(with_average):
    state, folder = with_average
    part = {name: getattr(state, name) for name in ("params", "model_state", "step", "average")}
    assert_same(restore_fields(folder, abstract(part)), part)
    part = Part(state.params, state.model_state)
    assert_same(restore_fields(folder, abstract(part)), part)


def test_a_part_without_an_average_is_restored(without_average):
    state, folder = without_average
    part = {"params": state.params, "average": None}
    assert_same(restore_fields(folder, abstract(part)), part)


def test_single_leaves_are_restored_in_the_wanted_type(with_average):
    state, folder = with_average
    stored = {"params": stored_tree(folder)["params"]}
    restored = restore_leaves(folder, stored, {"params/gates/0": jnp.zeros((3, 4), jnp.bfloat16)})
    assert list(restored) == ["params/gates/0"]
    np.testing.assert_array_equal(restored["params/gates/0"], state.params["gates"][0].astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("path", "other", "message"),
    [
        ("params", {"dense": {"kernel": np.ones((3, 5))}}, "dense/kernel: checkpoint has .3, 4., this .* .3, 5."),
        ("params", {"head": np.ones(2)}, "params/head: checkpoint has none, this experiment .2,."),
        ("model_state", {}, "model_state/batch_stats/norm/mean: checkpoint has .4,., this experiment none"),
        ("average", {"dense": np.ones(2)}, "average/dense: checkpoint has none, this experiment .2,."),
        ("opt_state", ADAM.init(np.ones(2)), "opt_state/1/0/count: checkpoint has none"),
    ],
)  # fmt: skip
def test_the_first_leaf_that_differs_is_named(without_average, path, other, message):
    state, folder = without_average
    with pytest.raises(ValueError, match=message):
        restore_state(folder, abstract(state.replace(**{path: other})))
    if path != "opt_state":
        with pytest.raises(ValueError, match=message):
            restore_fields(folder, {path: abstract(other)})


def test_a_metric_that_was_renamed_is_restored(tmp_path):
    sums = {"total": jnp.float32(3), "count": jnp.float32(4)}
    folder = save(tmp_path, {"metrics": {"loss": sums, "regulariser": {"total": jnp.float32(5)}}})
    target = {"metrics": {"loss": sums, "regularizer": {"total": jnp.float32(0)}}}
    expected = {"metrics": {"loss": sums, "regularizer": {"total": jnp.float32(5)}}}
    assert_same(restore_state(folder, target), expected)
    assert_same(restore_fields(folder, target), expected)
    own = {
        "metrics": {"loss": sums, "regulariser": {"total": jnp.float32(5)}}
    }  # a user's metric of this name
    assert_same(restore_state(folder, own), own)


def test_a_run_of_version_0_1_goes_on_and_logs_the_same(tmp_path):
    shutil.copytree(VERSION_0_1, tmp_path / "run")
    expected = read_metrics(tmp_path / "run" / "metrics.csv")
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines(keepends=True)
    stopped = [line for line in lines if line.split(",")[0] in ("step", "3", "6")]
    (tmp_path / "run" / "metrics.csv").write_text("".join(stopped))
    config = read_config(toy.Config(), tmp_path / "run" / "config.json", "--workdir")
    run = Run(toy.experiment(config), config, tmp_path / "run")
    with claim_folder(run):
        trained = loop.train(run.engine, run.folder)
    found = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert len(found) > len(stopped) - 1
    # To the bit on the machine that wrote them; other compilations round otherwise.
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in expected], rtol=1e-5)
    assert trained.evaluation["loss"] == found[-1][2]


def test_a_folder_without_a_state_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got a folder without a state in it, expected a checkpoint"):
        stored_tree(tmp_path)


def test_a_state_whose_description_is_damaged_is_refused(tmp_path):
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "_METADATA").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        stored_tree(tmp_path)


def test_a_state_that_orbax_cannot_read_is_refused(without_average, tmp_path):
    state, folder = without_average
    stored = stored_tree(folder)
    with pytest.raises(
        ValueError, match=r"got a checkpoint that cannot be read as this experiment's state \("
    ):
        restore_leaves(tmp_path, stored, {"step": state.step})


def test_a_random_key_is_stored_as_its_words():
    assert stored_shape(jax.random.key(0)) == (2,)
    assert stored_shape(np.ones((3, 4))) == (3, 4)


ON_EIGHT_DEVICES = """
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from dlcore.training.checkpoints.restore import restore_fields, restore_state

mesh = jax.make_mesh((8,), ("data",))
places = {"split": PartitionSpec("data"), "whole": PartitionSpec()}
target = {
    name: jax.ShapeDtypeStruct((16, 3), jnp.float32, sharding=NamedSharding(mesh, place))
    for name, place in places.items()
}
for restore in (restore_state, restore_fields):
    for name, leaf in restore(Path(sys.argv[1]), target).items():
        assert leaf.sharding.is_equivalent_to(target[name].sharding, 2), leaf.sharding
        assert len(leaf.sharding.device_set) == 8
        assert np.array_equal(np.asarray(leaf), np.arange(48).reshape(16, 3))
"""


@pytest.mark.slow
def test_a_state_of_one_device_is_restored_onto_eight(tmp_path):
    values = jnp.arange(48.0).reshape(16, 3)
    folder = save(tmp_path, {"split": values, "whole": values})
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_EIGHT_DEVICES, str(folder)]
    subprocess.run(command, check=True, env=os.environ | environment, cwd=ROOT)
