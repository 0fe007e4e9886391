"""The program that ``tests/training/test_distributed.py`` runs as one of two processes, or as the only one.

    python -m tests.helpers.two_processes TOY FOLDER STEPS DATA MODEL PARAMETERS [STOP]

It trains the toy experiment on the mesh of DATA, MODEL and PARAMETERS, and prints its evaluation as JSON. With STOP, a
callback stops the run at this step.
"""

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

import dlcore as dl
from dlcore.training import distributed, loop
from dlcore.training.engine import Engine
from dlcore.utils.trees import named_leaves


class StopsFirst(dl.callbacks.Callback):
    """Stops the run at a step, but only in the first process, as a look at the clock may do."""

    def __init__(self, step: int):
        self.step = step

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        if step == self.step and jax.process_index() == 0:
            raise dl.callbacks.Stop("enough ä")


def main(
    toy_name: str, folder: str, steps: str, data: str, model: str, parameters: str, stop: str = ""
) -> None:
    distributed.initialize("auto")
    toy = importlib.import_module(f"tests.helpers.{toy_name}")
    config = toy.Config()
    config.train.steps = int(steps)
    config.mesh = dl.MeshConfig(int(data), int(model), parameters)
    path = Path(folder)
    path.mkdir(exist_ok=True)
    callbacks = [StopsFirst(int(stop))] if stop else []
    engine = Engine(dataclasses.replace(toy.experiment(config), callbacks=callbacks), config)
    trained = loop.train(engine, path)
    np.savez(
        path / f"params_{jax.process_index()}.npz", **named_leaves(loop.model_on_host(engine, trained.state))
    )
    found = {
        "steps": int(trained.state.step),
        "stopped": trained.stopped,
        "rows": engine._rows,
        "devices": jax.device_count(),
        "same": settings_error(["--seed=1", "--seed=1"]),
        "different": settings_error(["--seed=1", "--seed=2 <ä>"]),
    }
    print(json.dumps({**found, **trained.evaluation}), flush=True)
    distributed.leave()  # it waits for the other process, which would end with an error if this one ended first
    os._exit(0)


def settings_error(flags: list[str]) -> str:
    """The error of `check_same_settings` if each process has its own flag; empty if there is none."""
    name, value = flags[jax.process_index()].split("=")
    try:
        distributed.check_same_settings({"--steps": "3", name: value})
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
