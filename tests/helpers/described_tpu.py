"""The program that ``tests/training/targets/test_tpu.py`` runs once: it compiles steps for TPUs that are not there.

libtpu reads the environment when it is loaded, so it has a process of its own. The result is one line of JSON.
"""

import json
import os
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import dlcore as dl
from dlcore.training.optimizers.make import choose_optimizer
from dlcore.training.run_config import resolve_config
from dlcore.training.state import make_state
from dlcore.training.step import make_train_step
from dlcore.training.targets.find import find_target
from tests.helpers import dense_toy, sequence_toy, toy

MESHES = {
    "data": dl.MeshConfig(),
    "sharded": dl.MeshConfig(parameters="sharded"),
    "by_rules": dl.MeshConfig(data=4, model=2, parameters="by_rules"),
}
ROWS, TOO_MANY_COPIES = 512, 400_000
TOPOLOGIES = ("v4:2x2x1", "v5p:2x2x2", "v6e:2x4", "v5e:1x1", "v5e:4x8")
BAD = ("v9:2x2", "v5e:8", "v5e:0x4", "v5e:999x999")
VARIABLES = ("TPU_SKIP_MDS_QUERY", "TPU_ACCELERATOR_TYPE", "TPU_WORKER_HOSTNAMES", "TPU_LIBRARY_PATH")


def inspect(mesh: dl.MeshConfig, target: str = "v5e:2x4", rows: int = ROWS, width: int = 1) -> dict[str, Any]:
    """What is found of the dense layers."""
    config = dense_toy.Config(mesh=mesh, width=width)
    config.train.batch_size = rows
    return inspect_experiment(dense_toy.experiment, config, target)


def inspect_experiment(experiment: Any, config: Any, target: str = "v5e:2x4") -> dict[str, Any]:
    """The numbers of an inspection, the collectives of its training step, and its problem."""
    found = dl.inspect(experiment, config, target)
    collectives = [(one.kind, one.devices, one.total) for one in found.steps[0].collectives]
    return {**found.result, "all": collectives, "problem": found.problem, "text": found.text}


def refused(target: str) -> str:
    try:
        return str(find_target(target))
    except ValueError as error:
        return str(error)


def memory_by_hand() -> dict[str, int]:
    """The memory of the data parallel step, which is jitted here and not by the engine."""
    os.environ.update(dict.fromkeys(VARIABLES[:3], "localhost"), TPU_SKIP_MDS_QUERY="1")
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices
    mesh = Mesh(np.array(devices), ("rows",))
    everywhere, by_rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("rows",)))
    config = dense_toy.Config()
    config.train.batch_size = ROWS
    experiment = dense_toy.experiment(config)
    config = resolve_config(config, experiment)
    optimizer, _ = choose_optimizer(None, config)
    step = make_train_step(experiment, optimizer, config.seed, config.train)
    batch = experiment.train_data[0]

    def initial(batch: Any) -> Any:
        state = make_state(experiment, optimizer, config.seed, batch)
        after = jax.eval_shape(step, state, batch)
        zeros = lambda tree: jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), tree)
        return state.replace(metrics=zeros(after.metrics), remainders=zeros(after.remainders))

    def call(state: Any, batch: Any) -> Any:
        state = step(state, batch)
        return state, state.bad_step

    jitted = jax.jit(call, donate_argnums=0, in_shardings=(everywhere, by_rows), out_shardings=everywhere)
    compiled = jitted.lower(jax.eval_shape(initial, batch), batch).compile()
    found = compiled.memory_analysis()
    taken = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return {
        "program_bytes": taken + found.temp_size_in_bytes + found.generated_code_size_in_bytes,
        "temporary_bytes": found.temp_size_in_bytes,
    }


def main() -> None:
    before = {name: os.environ.get(name) for name in VARIABLES}
    result: dict[str, Any] = {name: inspect(mesh) for name, mesh in MESHES.items()}
    result["too large"] = inspect(dl.MeshConfig(), width=TOO_MANY_COPIES)
    largest = int(result["too large"]["problem"].split("the largest that fits is ")[1].split(",")[0])
    result["largest"] = inspect(dl.MeshConfig(), rows=largest, width=TOO_MANY_COPIES)
    result["recurrent"] = inspect_experiment(sequence_toy.experiment, sequence_toy.Config())
    result["convolutional"] = inspect_experiment(toy.experiment, toy.Config())
    result["several hosts"] = inspect(dl.MeshConfig(), "v6e:4x8")
    result["topologies"] = {topology: refused(topology) for topology in (*TOPOLOGIES, *BAD)}
    result["changed"] = [name for name in VARIABLES if os.environ.get(name) != before[name]]
    result["by hand"] = memory_by_hand()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
