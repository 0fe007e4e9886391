"""The life of an experiment in one process: it trains, stops, goes on to the bit, evaluates, generates, is measured.

The runs of an experiment share an engine and so their compiled programs.
"""

import dataclasses
import math
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dlcore.cli.command_line import load_command_line
from dlcore.config import settings
from dlcore.runs.build import check_run, make_run
from dlcore.runs.generate import generate_files
from dlcore.runs.gradient_flow import measure_states
from dlcore.runs.model import TrainedModel
from dlcore.training import loop
from dlcore.training.faults.signals import Interrupted
from dlcore.training.run import Run
from dlcore.training.state import TrainState

STEPS, ROWS = 20, 8


@dataclass
class Life:
    """An experiment and settings with which it is small.

    Attributes:
        name: the experiment.
        changes: its settings by their paths.
        recurrences: how many recurrences its report has at least; 0: it is not measured, since it has none.
        texts: what it generates from; None: it does not generate.
        files: the names of the files that it generates, as far as they are known.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    recurrences: int = 1
    texts: Sequence[str] | None = None
    files: Sequence[str] = ()


class StoppingData:
    """A training set that sends this process SIGTERM when the batch of the step `stop` is read, once."""

    def __init__(self, data: Any):
        self._data, self.stop = data, -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __getitem__(self, step: int) -> Any:
        if step == self.stop:
            self.stop = -1
            os.kill(os.getpid(), signal.SIGTERM)
        return self._data[step]


def live(life: Life, folder: Path) -> None:
    """Leads an experiment through its life; AssertionError if a part of it fails."""
    run, data = small_run(life, folder / "parts")
    check_run(run)
    whole, parts = folder / "whole", run.folder
    for path in (whole, parts):
        path.mkdir()
    trained = loop.train(run.engine, whole)
    assert trained.evaluation
    assert all(math.isfinite(value) for value in numbers(trained.evaluation)), trained.evaluation

    data.stop = STEPS // 2
    with pytest.raises(Interrupted):
        loop.train(run.engine, parts)
    resumed = loop.train(run.engine, parts)
    assert_same_bits(resumed, trained)
    assert (parts / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()

    restored = loop.restore_model(run)
    jax.tree.map(np.testing.assert_array_equal, restored.params, trained.state.params)
    if life.texts is not None:
        check_generated(life, run, restored, folder / "generated")
    if life.recurrences:
        check_flows(life, run, trained.state)


def small_run(life: Life, folder: Path) -> tuple[Run, StoppingData]:
    """The run with its small settings, of which the first rows of each evaluation set are evaluated."""
    command_line = load_command_line(f"experiments.{life.name}")
    common = {
        "train.steps": STEPS,
        "train.batch_size": ROWS,
        "train.log_every": 5,
        "train.eval_every": STEPS,
        "checkpoint.every": STEPS,
        "log.tensorboard": False,
        "optimizer.warmup_steps": 0,
        "gradient_flow.rows": 2,
    }
    config = settings.replace(command_line.config_class(), {**common, **life.changes})
    experiment = command_line.experiment(config)
    data = StoppingData(experiment.train_data)
    small = dataclasses.replace(experiment, train_data=data, eval_data=first_rows(experiment.eval_data))
    return make_run(small, config, folder), data


def first_rows(eval_data: Any) -> Any:
    if isinstance(eval_data, Mapping):
        return {name: first_rows(part) for name, part in eval_data.items()}
    batch = next(iter(eval_data))
    return eval_data if "resets" in batch else [{name: part[:ROWS] for name, part in batch.items()}]


def numbers(evaluation: Mapping[str, Any]) -> list[float]:
    return [float(entry) for value in evaluation.values() for entry in np.ravel(value)]


def assert_same_bits(resumed: loop.TrainingResult, whole: loop.TrainingResult) -> None:
    leaves = (result.state.params for result in (resumed, whole))
    jax.tree.map(np.testing.assert_array_equal, *leaves)
    states = (result.state.opt_state for result in (resumed, whole))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert dict(resumed.evaluation) == dict(whole.evaluation)


def check_generated(life: Life, run: Run, state: TrainState, folder: Path) -> None:
    files = generate_files(TrainedModel(run, state), life.texts or [], folder)
    assert files
    assert all(path.stat().st_size for path in files)
    assert set(life.files) <= {path.name for path in files}


def check_flows(life: Life, run: Run, state: TrainState) -> None:
    """Every recurrence is measured, from the gain 1 at the lag 0 on."""
    flows, _ = measure_states(run.engine, [("trained", state)], run.config.gradient_flow)
    (found,) = flows.values()
    assert len(found) >= life.recurrences, [flow.name for flow in found]
    for flow in found:
        assert flow.log_gain[0] == pytest.approx(0, abs=1e-5), flow.name
        assert not np.isnan(flow.log_by_lag).any(), flow.name
