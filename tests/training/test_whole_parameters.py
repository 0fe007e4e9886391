"""Split parameters are gathered once for a loss, however often it uses them, and the gradient is split again."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from dlcore.training.mesh import MeshConfig, make_mesh
from dlcore.training.whole_parameters import computed_on, with_whole_parameters
from tests.helpers import plain_toy
from tests.helpers.paths import ROOT

COMPILES = """
import json
import dlcore as dl
from tests.helpers import sequence_toy

config = sequence_toy.Config()
config.train.batch_size, config.mesh.parameters = 8, "sharded"
steps = dl.inspect(sequence_toy.experiment, config, "cpu:8").steps
print(json.dumps([[(one.kind, one.runs) for one in step.collectives] for step in steps]))
"""


@pytest.mark.slow
def test_no_time_step_of_a_recurrent_layer_exchanges_anything():
    """The equality of values and gradients on eight devices is in ``tests/helpers/eight_devices.py``."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-c", COMPILES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    training, evaluation = json.loads(ended.stdout)
    for collectives in (training, evaluation):
        assert {runs for _, runs in collectives} == {1}
        assert "all-gather" in dict(collectives)


def test_loss_and_gradient_stay():
    experiment, mesh = plain_toy.experiment(plain_toy.Config()), make_mesh(MeshConfig(data=1))
    batch, rng = experiment.train_data[0], jax.random.key(0)
    params, model_state = experiment.init(rng, batch)
    whole = with_whole_parameters(experiment.loss, mesh)
    for one, other in zip(
        *(
            jax.tree.leaves(
                jax.jit(jax.grad(loss, has_aux=True), static_argnums=4)(params, model_state, batch, rng, True)
            )
            for loss in (whole, experiment.loss)
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("parameters", ["replicated", "by_rules"])
def test_other_places_change_nothing(parameters):
    experiment = plain_toy.experiment(plain_toy.Config())
    assert (
        computed_on(make_mesh(MeshConfig(data=1)), MeshConfig(parameters=parameters), experiment)
        is experiment
    )
