"""From an experiment and its config to a checked `Run`, before anything is computed or written."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from flax import linen as nn
from flax import nnx

from dlcore.config import settings
from dlcore.runs.probe import with_monitor
from dlcore.training.config import Config
from dlcore.training.contract import check_model
from dlcore.training.experiment import Experiment
from dlcore.training.run import Run
from dlcore.utils.checks import check_callable, check_instance, shown

C = TypeVar("C", bound=Config)

Build: TypeAlias = Callable[[C], Experiment]


def make_run(experiment: Experiment | Build[C], config: C, folder: Path, **options: Any) -> Run:
    """The `Run` of an experiment; its settings are checked, its model is not.

    Args:
        experiment: the experiment, or the function ``experiment(config)`` that makes it.
        config: its config; the run has a copy of it, so that it may be changed for the next run.
        folder: the run's folder, which need not exist.
        options: further fields of `Run`.

    Raises:
        TypeError: an argument has another type, or the function returns no `Experiment`.
        ValueError: a setting has another type or is out of its bounds.
        Exception: whatever the function raises.
    """
    check_instance("config", config, Config, "a dl.Config")
    settings.check(config)
    config, build = copy.deepcopy(config), None
    if not isinstance(experiment, Experiment):
        build, experiment = experiment, _built(experiment, config)
    return Run(with_monitor(experiment, config), config, folder, build=build, **options)


def _built(build: Any, config: Config) -> Experiment:
    """What the function ``experiment(config)`` returns; TypeError if it is no such function."""
    if isinstance(build, nn.Module | nnx.Module):
        raise TypeError(
            f"experiment: got the model {shown(build)}, expected a dl.Experiment, such as "
            "dl.Experiment.from_flax(model, ...), or a function experiment(config) that returns one"
        )
    check_callable("experiment", build, "experiment(config) -> dl.Experiment")
    experiment = build(config)
    if not isinstance(experiment, Experiment):
        raise TypeError(f"experiment: got {shown(experiment)} returned, expected a dl.Experiment")
    return experiment


def check_run(run: Run) -> None:
    """Checks the experiment's contract, and that mesh, sharding rules and batch size fit its model; computes nothing.

    Raises:
        TypeError, ValueError, Exception: as in `contract.check_model`, `Engine` and `Engine.abstract_state`.
    """
    check_model(run.experiment)
    _ = run.engine.abstract_state
