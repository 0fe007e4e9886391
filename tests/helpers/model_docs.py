"""The programs of docs/models.md, which tests run: each trains a small model of one library."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import jax

import dlcore as dl
from dlcore.training import loop
from dlcore.training.engine import Engine
from tests.helpers.bits import assert_same_bits
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "models.md"


def program(section: str) -> dict[str, Any]:
    """What the program in a section of the page defines."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    (source,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, f"{PAGE.name}: {section}", "exec"), names)
    return names


def make_engine(make: Any) -> Engine:
    config = dl.Config(mesh=dl.MeshConfig(data=1))
    settings = {"steps": 4, "batch_size": 8, "eval_batch_size": 500, "log_every": 2, "eval_every": 2}
    config.train = dataclasses.replace(config.train, **settings)
    config.checkpoint.every = 2
    return Engine(make(config), config)


def check_program(section: str, folder: Path) -> list[str]:
    """Trains the program of a section; a run that lost its last steps makes them again with the same bits.

    Returns the names of the recurrences in its model.
    """
    make = program(section)["experiment"]
    whole = loop.train(make_engine(make), folder)
    rows = (folder / "metrics.csv").read_bytes()
    shutil.rmtree(folder / "checkpoints" / "4")
    resumed = loop.train(make_engine(make), folder)
    assert_same_bits(resumed.state, whole.state)
    assert resumed.evaluation == whole.evaluation
    assert (folder / "metrics.csv").read_bytes() == rows
    return find_recurrences(make(dl.Config()), resumed.state)


def find_recurrences(experiment: dl.Experiment, state: Any) -> list[str]:
    names: list[str] = []

    def trace() -> None:
        call = lambda: experiment.loss(state.params, state.model_state, batch, jax.random.key(0), False)[0]
        names.extend(found.name for found in dl.gradflow.find_recurrences(call))

    batch = experiment.train_data[0]
    jax.eval_shape(trace)
    return names
