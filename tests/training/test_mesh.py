"""Sharding rules, and the rows that a process loads; what needs several devices runs in a process that has them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from dlcore.training.mesh import (
    MeshConfig,
    batch_sharding,
    check_rules,
    make_mesh,
    parameter_specs,
    place_batch,
    process_rows,
    rows_by_process,
    state_shardings,
)
from dlcore.training.optimizers.by_path import by_path, freeze
from dlcore.training.state import TrainState, make_state
from dlcore.training.targets.cpu import cpu_target
from dlcore.training.targets.target import Target
from dlcore.utils.trees import named_leaves
from tests.helpers import plain_toy
from tests.helpers.paths import ROOT

MESH = AbstractMesh((4, 2), ("data", "model"))
PARAMS = {
    "lstm": {"recurrent_kernel": np.zeros((8, 32)), "bias": np.zeros(32)},
    "dense": {"kernel": np.zeros((8, 3))},
}
BY_RULES, SHARDED = MeshConfig(parameters="by_rules"), MeshConfig(parameters="sharded")


@pytest.mark.slow
def test_eight_devices():
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8"}
    arguments = [sys.executable, "-m", "pytest", "-n", "0", "-x", "tests/helpers/eight_devices.py"]
    finished = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stdout[-5000:]


def test_the_first_rule_that_matches_the_path_counts():
    rules = {"^lstm/recurrent": (None, "model"), "lstm": ("model",), ".*": ()}
    assert parameter_specs(PARAMS, MESH, BY_RULES, rules) == {
        "lstm": {"recurrent_kernel": PartitionSpec(None, "model"), "bias": PartitionSpec("model")},
        "dense": {"kernel": PartitionSpec()},
    }


def test_sharded_splits_the_largest_dimension_that_the_data_axis_divides():
    params = {
        "wide": np.zeros((4, 12)),
        "odd": np.zeros((16, 15)),
        "small": np.zeros(3),
        "scalar": np.zeros(()),
    }
    assert parameter_specs(params, MESH, SHARDED, {}) == {
        "wide": PartitionSpec(None, "data"),
        "odd": PartitionSpec("data"),
        "small": PartitionSpec(),
        "scalar": PartitionSpec(),
    }


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "--config.mesh.parameters: got by_rules, but the experiment has no sharding_rules"),
        ({"lstm": ()}, "sharding_rules: got none for the parameter dense/kernel .8, 3.; add one"),
        ({"kernel": ("data", "data"), ".*": ()}, "got .'data', 'data'. from 'kernel' .* .each once."),
        ({"gru": (), ".*": ()}, "sharding_rules: got 'gru', expected a rule that is the first to match"),
        ({".*": (), "lstm": ()}, "sharding_rules: got 'lstm', expected a rule that is the first to match"),
        (
            {"kernel": (None, "modle"), ".*": ()},
            r"got \(None, 'modle'\) from 'kernel' for dense/kernel \(8, 3\)",
        ),
        (
            {"dense": (None, "model"), ".*": ()},
            "each dividing its dimension on the mesh {'data': 4, 'model': 2}",
        ),
        ({"bias": (None, "model"), ".*": ()}, "for lstm/bias .32,., expected a tuple of at most 1 of"),
    ],
)
def test_rules_that_do_not_fit_are_named(rules, message):
    with pytest.raises(ValueError, match=message):
        parameter_specs(PARAMS, MESH, BY_RULES, rules)


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ([("kernel", ())], TypeError, "sharding_rules: got .*, expected a dict"),
        ({3: ()}, TypeError, "sharding_rules: got 3, expected regular expressions"),
        ({"kernel": "model"}, TypeError, r"sharding_rules\['kernel'\]: got 'model', expected a tuple"),
        ({"(": ()}, ValueError, r"sharding_rules: got '\(', expected a regular expression \(missing"),
    ],
)
def test_what_are_no_rules_is_refused(rules, error, message):
    with pytest.raises(error, match=message):
        check_rules(rules)
    with pytest.raises(error, match=message):
        parameter_specs(PARAMS, MESH, BY_RULES, rules)


def test_one_process_loads_all_rows():
    mesh = make_mesh(MeshConfig())
    assert process_rows(mesh, 12 * len(jax.devices())) == (0, 12 * len(jax.devices()))


def test_a_mesh_of_too_many_devices_is_refused():
    data = len(jax.devices()) + 1
    with pytest.raises(
        ValueError, match=rf"--config\.mesh\.data: got {data} with .* expected a product of at most"
    ):
        make_mesh(MeshConfig(data=data))
    with pytest.raises(ValueError, match=r"--config\.mesh\.data: got none with --config\.mesh\.model="):
        make_mesh(MeshConfig(model=data))


def test_all_devices_of_a_target_are_used():
    target = cpu_target(1)
    assert make_mesh(MeshConfig(), target).devices.tolist() == [[target.devices[0]]]
    message = r"--config\.mesh\.data: got none with .*model=2, expected a product of 1, .* of --target=cpu:1; choose a"
    with pytest.raises(ValueError, match=message):
        make_mesh(MeshConfig(model=2), target)
    with pytest.raises(ValueError, match="expected a product of 2, the number of devices of --target=two"):
        make_mesh(MeshConfig(data=1), Target("two", target.devices * 2, None, ""))


def test_the_rows_of_a_process_are_side_by_side():
    grid = np.array(
        [[SimpleNamespace(id=(row, place), process_index=row % 2) for place in (0, 1)] for row in range(4)]
    )
    ordered = rows_by_process(grid)
    assert [[device.id for device in row] for row in ordered] == [
        [(row, 0), (row, 1)] for row in (0, 2, 1, 3)
    ]


def test_a_batch_that_the_data_axis_does_not_divide_is_refused():
    with pytest.raises(
        ValueError, match="batch_size: got 6, expected a multiple of 4, the size of the mesh's data axis"
    ):
        process_rows(MESH, 6)


def test_a_batch_is_split_along_its_rows_also_if_steps_are_stacked():
    mesh = make_mesh(MeshConfig(data=1))
    assert batch_sharding(mesh).spec == PartitionSpec("data")
    assert batch_sharding(mesh, stacked=True).spec == PartitionSpec(None, "data")
    batch = {"inputs": np.arange(6).reshape(2, 3)}
    for stacked in (False, True):
        placed = place_batch(batch, mesh, stacked=stacked)["inputs"]
        assert placed.sharding == batch_sharding(mesh, stacked=stacked)
        np.testing.assert_array_equal(placed, batch["inputs"])


MATRIX, WHOLE = PartitionSpec(None, "model"), PartitionSpec()
OPTIMIZERS = {
    "adam": (optax.adam(0.1), {"mu/weights", "nu/weights"}),
    "adafactor": (optax.adafactor(0.1, momentum=0.9), {"0/v/weights", "4/ema/weights"}),
    "by path": (by_path({"weights": optax.lion(0.1), ".*": optax.set_to_zero()}), {"mu/weights"}),
    "frozen": (freeze(optax.adam(0.1), ["weights"]), set()),
    "masked": (optax.masked(optax.adam(0.1), {"weights": True, "bias": False}), {"mu/weights", "nu/weights"}),
    "injected": (optax.inject_hyperparams(optax.lion)(0.1), {"mu/weights"}),
    "accumulating": (
        optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
        {"mu/weights", "nu/weights", "acc_grads/weights"},
    ),
    "schedule free": (
        optax.contrib.schedule_free_sgd(0.1),
        {"z/weights"},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_average_and_the_optimizer_state_are_split_like_their_parameter(name):
    optimizer, split = OPTIMIZERS[name]
    specs = {"bias": WHOLE, "weights": MATRIX}
    experiment = plain_toy.experiment(plain_toy.Config())
    state = jax.eval_shape(
        lambda: make_state(experiment, optimizer, 0, experiment.train_data[0], averaged=True)
    )
    shardings = state_shardings(state, MESH, specs)
    assert jax.tree.structure(shardings) == jax.tree.structure(state)
    for part in (shardings.params, shardings.average):
        assert {name: sharding.spec for name, sharding in part.items()} == specs
    for part in (shardings.step, shardings.bad_step, shardings.model_state["mean"]):
        assert part == NamedSharding(MESH, WHOLE)
    found = {path for path, sharding in named_leaves(shardings.opt_state).items() if sharding.spec == MATRIX}
    assert len(found) == len(split)
    assert all(any(path.endswith(end) for path in found) for end in split)


def test_a_parameter_is_recognized_by_the_longest_path_and_the_shape():
    params = {"kernel": np.zeros((4, 2)), "cell": {"kernel": np.zeros((4, 2))}, "size": np.zeros(4)}
    specs = {"kernel": WHOLE, "cell": {"kernel": MATRIX}, "size": PartitionSpec("data")}
    state = TrainState(None, params, {}, (params, {"size": np.zeros(8)}), {}, None, None)
    (copies, other) = state_shardings(state, MESH, specs).opt_state
    assert jax.tree.map(lambda sharding: sharding.spec, copies) == specs
    assert other["size"].spec == WHOLE
