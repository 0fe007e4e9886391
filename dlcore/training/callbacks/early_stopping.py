"""Early stopping: the run ends when a metric of the evaluation no longer improves."""

from collections.abc import Mapping
from typing import Any

from dlcore.training.callbacks.callback import Callback, Start, Stop
from dlcore.training.checkpoints.ranking import is_falling
from dlcore.utils.checks import check_bool, check_instance, check_integer, check_number


class EarlyStopping(Callback):
    """Stops the run after ``patience`` evaluations in a row that are not better than the best one before.

    A value is better if it differs from the best so far, in the right direction, by at least ``min_change``. The first
    number is always better, and NaN is never better. ``--config.stop.patience`` adds this callback for the metric
    `Experiment.best`.

    Args:
        metric: the name of an evaluation metric, as in `Experiment.best`.
        patience: number of evaluations without improvement after which the run stops.
        min_change: the smallest change that counts as an improvement; 0: any.
        lower_is_better: True if the smallest value is the best, as for a loss. None: True if the name of the metric
            ends with ``loss``, ``error`` or ``perplexity``.

    Attributes:
        metric: the argument.

    Raises:
        TypeError, ValueError: an argument has another type or is out of its bounds.

    >>> stopping = EarlyStopping("f1", patience=2)
    >>> stopping.on_evaluation(10, {"f1": 0.5})
    >>> stopping.on_evaluation(20, {"f1": 0.5})
    >>> stopping.on_evaluation(30, {"f1": 0.4})
    Traceback (most recent call last):
        ...
    dlcore.training.callbacks.callback.Stop: f1 has not become higher in 2 evaluations; the best was 0.5 at step 10
    """

    def __init__(
        self, metric: str, patience: int, *, min_change: float = 0.0, lower_is_better: bool | None = None
    ):
        check_instance("metric", metric, str, "the name of an evaluation metric")
        self.metric, self._patience = metric, check_integer("patience", patience)
        self._min_change = check_number("min_change", min_change, "[0, inf)")
        falls = (
            is_falling(metric) if lower_is_better is None else check_bool("lower_is_better", lower_is_better)
        )
        self._sign = -1 if falls else 1
        self._best: float | None = None
        self._best_step = self._waited = 0

    def on_start(self, start: Start) -> None:
        self._best, self._best_step, self._waited = None, 0, 0

    def on_evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        if self.metric not in values:
            raise ValueError(
                f"metric: got {self.metric!r}, expected one of the evaluation's metrics: {', '.join(values)}"
            )
        value = values[self.metric]
        if not isinstance(value, float | int):
            raise ValueError(f"metric: got {self.metric!r}, which has several values, expected one number")
        if self._is_better(value):
            self._best, self._best_step, self._waited = value, step, 0
            return
        self._waited += 1
        if self._waited >= self._patience:
            count = "1 evaluation" if self._patience == 1 else f"{self._patience} evaluations"
            change = f" by {self._min_change:g}" if self._min_change else ""
            best = "none" if self._best is None else f"{self._best:.6g} at step {self._best_step}"
            better = "lower" if self._sign < 0 else "higher"
            raise Stop(f"{self.metric} has not become {better}{change} in {count}; the best was {best}")

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return value == value  # not NaN
        change = self._sign * (value - self._best)
        return change > 0 and change >= self._min_change

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "best_step": self._best_step, "waited": self._waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._best, self._best_step, self._waited = state["best"], state["best_step"], state["waited"]
