"""Run by test_distributed.py, as one process of one or two: trains the sequence toy and says what came of it.

python -m tests.helpers.two_processes FOLDER STEPS DATA MODEL PARAMETERS
"""

import json
import os
import sys
from pathlib import Path

import jax
import numpy as np

import dlcore as dl
from dlcore.train import distributed, loop
from dlcore.train.engine import Engine
from dlcore.utils.trees import named_leaves
from tests.helpers import sequence_toy


def main(folder: str, steps: str, data: str, model: str, parameters: str) -> None:
    distributed.initialize("auto")
    config = sequence_toy.Config()
    config.train.steps = int(steps)
    config.mesh = dl.MeshConfig(int(data), int(model), parameters)
    path = Path(folder)
    path.mkdir(exist_ok=True)
    engine = Engine(sequence_toy.experiment(config), config)
    trained = loop.train(engine, path)
    model = loop.model_on_host(engine, trained.state)
    np.savez(path / f"params_{jax.process_index()}.npz", **named_leaves(model))
    print(
        json.dumps({"rows": engine._rows, "devices": jax.device_count(), **trained.evaluation}),
        flush=True,
    )
    if jax.process_count() > 1:
        jax.distributed.shutdown()  # which waits for the other: the end of one alone would abort it
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
