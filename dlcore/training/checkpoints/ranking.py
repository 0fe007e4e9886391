"""Which checkpoint is the best: each holds the evaluation at its step, and one metric of it ranks them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcore.training.checkpoints.checksums import find_damage
from dlcore.training.checkpoints.folder import saved_steps

NEVER_BEST = -math.inf
FALLING = ("loss", "error", "perplexity")  # ends of the names of metrics whose smallest value is the best


def is_falling(metric: str) -> bool:
    """True if the name of a metric says that its smallest value is the best.

    >>> is_falling("dev/loss"), is_falling("mean_squared_error"), is_falling("accuracy")
    (True, True, False)
    """
    return metric.endswith(FALLING)


@dataclass(frozen=True)
class Ranking:
    """The order of evaluations by one metric.

    Attributes:
        metric: the name of the metric.
        lower_is_better: True if its smallest value is the best.
    """

    metric: str
    lower_is_better: bool = False

    def rank(self, metrics: Mapping[str, Any]) -> float:
        """A number that is larger for a better evaluation; `NEVER_BEST` if the metric is NaN or missing."""
        value = metrics.get(self.metric, math.nan)  # missing if it was saved between two evaluations
        if math.isnan(value):
            return NEVER_BEST
        return -value if self.lower_is_better else value

    def best_step(self, folder: Path) -> int | None:
        """The newest of the best checkpoints in a folder; None if none has an evaluation that can be the best.

        Args:
            folder: the ``checkpoints`` folder of a run.

        Raises:
            ValueError: a checkpoint's metrics are damaged.
        """
        ranks = {step: self._stored_rank(folder / str(step)) for step in saved_steps(folder)}
        evaluated = [step for step, rank in ranks.items() if rank > NEVER_BEST]
        return max(evaluated, key=lambda step: (ranks[step], step), default=None)

    def best_rank(self, folder: Path) -> float:
        """The rank of the `best_step`; `NEVER_BEST` if there is none. Errors are the same."""
        step = self.best_step(folder)
        return NEVER_BEST if step is None else self._stored_rank(folder / str(step))

    def _stored_rank(self, checkpoint: Path) -> float:
        try:
            return self.rank(json.loads((checkpoint / "metrics" / "metrics").read_text()))
        except (OSError, ValueError):
            check_whole(checkpoint)
            raise


def check_whole(checkpoint: Path) -> None:
    """Raises ValueError if a checkpoint is damaged."""
    damage = find_damage(checkpoint)
    if damage is not None:
        raise ValueError(f"{checkpoint}: damaged ({damage}); choose another checkpoint")
