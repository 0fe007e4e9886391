"""From an experiment and its config to a checked `Run`, before anything is computed or written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from dlcore.config import settings
from dlcore.runs.probe import with_monitor
from dlcore.training.config import Config
from dlcore.training.contract import check_model
from dlcore.training.experiment import Experiment
from dlcore.training.run import Run
from dlcore.utils.checks import check_callable, check_instance

C = TypeVar("C", bound=Config)

Build: TypeAlias = Callable[[C], Experiment]


def make_run(experiment: Experiment | Build[C], config: C, folder: Path, **options: Any) -> Run:
    """The `Run` of an experiment; its settings are checked, its model is not.

    Args:
        experiment: the experiment, or the function ``experiment(config)`` that makes it.
        config: its config.
        folder: the run's folder, which need not exist.
        options: further fields of `Run`.

    Raises:
        TypeError: an argument has another type, or the function returns no `Experiment`.
        ValueError: a setting has another type or is out of its bounds.
        Exception: whatever the function raises.
    """
    check_instance("config", config, Config, "a dl.Config")
    settings.check(config)
    build = None
    if not isinstance(experiment, Experiment):
        check_callable("experiment", experiment, "experiment(config) -> dl.Experiment")
        build, experiment = experiment, experiment(config)
        check_instance("experiment", experiment, Experiment, "a dl.Experiment that it returns")
    return Run(with_monitor(experiment, config), config, folder, build=build, **options)


def check_run(run: Run) -> None:
    """Checks the experiment's contract, and that mesh, sharding rules and batch size fit its model; computes nothing.

    Raises:
        TypeError, ValueError, Exception: as in `contract.check_model`, `Engine` and `Engine.abstract_state`.
    """
    check_model(run.experiment)
    _ = run.engine.abstract_state
