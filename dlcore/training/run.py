"""One run of an experiment: what every mode of the command line gets as its argument."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlcore.training.engine import Engine
from dlcore.training.experiment import Experiment


@dataclass(frozen=True)
class Run:
    """An experiment with its config and its folder.

    Attributes:
        experiment: the built experiment.
        config: its whole config, checked.
        folder: the run's folder.
        checkpoint: the state that a mode restores: a step (a number or its text), ``"newest"`` or ``"best"``.
            `loop.named_states` also takes ``"initial"`` and ``"all"``.
        profile: the steps to trace, as ``"FIRST-LAST"``; None traces nothing.
        build: the function ``experiment(config)`` that made the experiment; None if nothing is known of it.
    """

    experiment: Experiment
    config: Any
    folder: Path
    checkpoint: int | Literal["newest", "best"] = "newest"
    profile: str | None = None
    build: Callable[[Any], Experiment] | None = None

    @functools.cached_property
    def engine(self) -> Engine:
        """The `Engine` with the experiment's compiled programs; made at the first access."""
        return Engine(self.experiment, self.config)
