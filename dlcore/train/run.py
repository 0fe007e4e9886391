"""One run of an experiment, and the modes that do something with it."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlcore.train.engine import Engine
from dlcore.train.experiment import Experiment


@dataclass(frozen=True)
class Run:
    """What a mode gets.

    Attributes:
        experiment: the built experiment.
        config: its whole config, checked.
        folder: the run's folder.
        checkpoint: which state a mode restores: a step, ``"newest"`` or ``"best"``.
        profile: steps whose trace is written, as ``"FIRST-LAST"``.
    """

    experiment: Experiment
    config: Any
    folder: Path
    checkpoint: int | Literal["newest", "best"] = "newest"
    profile: str | None = None

    @functools.cached_property
    def engine(self) -> Engine:
        """The experiment's programs, made once."""
        return Engine(self.experiment, self.config)
