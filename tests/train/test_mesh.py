"""Rules of sharding, the rows of a process; what takes several devices runs in a process that has them."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from dlcore.train.mesh import MeshConfig, make_mesh, parameter_specs, process_rows
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
    arguments = [sys.executable, "-m", "pytest", "-n", "0", "-x", "tests/train/eight_devices.py"]
    finished = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stdout[-5000:]


def test_the_first_rule_that_is_found_in_the_path_counts():
    rules = {"^lstm/recurrent": (None, "model"), "lstm": ("model",), ".*": ()}
    assert parameter_specs(PARAMS, MESH, BY_RULES, rules) == {
        "lstm": {"recurrent_kernel": PartitionSpec(None, "model"), "bias": PartitionSpec("model")},
        "dense": {"kernel": PartitionSpec()},
    }


def test_fully_sharded_splits_the_largest_dimension_that_can_be_split():
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
        ({"(": ()}, r"sharding_rules: got '\(', expected a regular expression \(missing"),
        (
            {"kernel": "model", ".*": ()},
            "got 'model' from 'kernel' for dense/kernel .8, 3., expected a tuple of",
        ),
        ({"kernel": ("data", "data"), ".*": ()}, "got .'data', 'data'. from 'kernel' .* .each once."),
        ({"gru": (), ".*": ()}, "sharding_rules: got 'gru', which no parameter is left for"),
        ({".*": (), "lstm": ()}, "sharding_rules: got 'lstm', which no parameter is left for"),
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


def test_one_process_has_all_rows():
    mesh = make_mesh(MeshConfig())
    assert process_rows(mesh, 12 * len(jax.devices())) == (0, 12 * len(jax.devices()))
