"""One run of an experiment: what every mode of the command line gets as its argument."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlcore.training.engine import Engine
from dlcore.training.experiment import Experiment
from dlcore.training.run_config import with_optimizer_name
from dlcore.training.targets.target import Target


@dataclass(frozen=True)
class Run:
    """An experiment with its config and its folder.

    Attributes:
        experiment: the built experiment.
        config: its whole config, checked; ``optimizer.name`` is ``custom`` if the experiment has its own optimizer.
        folder: the run's folder.
        checkpoint: the state that a mode restores: a step (a number or its text), ``"newest"`` or ``"best"``.
            `loop.named_states` also takes ``"initial"`` and ``"all"``.
        profile: the steps to trace, as ``"FIRST-LAST"``; None traces nothing.
        build: the function ``experiment(config)`` that made the experiment; None if nothing is known of it.
        target: the machine on which the programs run; None: this one.

    Raises:
        ValueError: the config names an update rule, and the experiment has an optimizer of its own.
    """

    experiment: Experiment
    config: Any
    folder: Path
    checkpoint: int | Literal["newest", "best"] = "newest"
    profile: str | None = None
    build: Callable[[Any], Experiment] | None = None
    target: Target | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", with_optimizer_name(self.config, self.experiment))

    @functools.cached_property
    def engine(self) -> Engine:
        """The `Engine` with the experiment's compiled programs; made at the first access."""
        return Engine(self.experiment, self.config, self.target)
