"""A run's rows: to the log for later, to the progress report for now."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from dlcore.train.engine import Engine
from dlcore.train.evaluation import evaluate, read_sums
from dlcore.train.experiment import Metrics
from dlcore.train.optimizer import make_schedule
from dlcore.train.state import TrainState
from dlcore.train.telemetry.metrics_log import MetricsLog
from dlcore.train.telemetry.speed import Speed
from dlcore.utils.progress import Progress


class Recorder(contextlib.ExitStack):
    """Writes training rows one call late, so that the devices work meanwhile, and evaluations at once.

    A context manager; of several processes, the first one writes and speaks.

    Args:
        engine: of the run.
        folder: the run's.
        start: the step that the run goes on from.
        alive: called for every batch of an evaluation.
    """

    def __init__(self, engine: Engine, folder: Path, start: int, alive: Callable[[], None]):
        super().__init__()
        self.engine, self.alive = engine, alive
        self._log = self._progress = None
        if jax.process_index() == 0:
            self._log = self.enter_context(MetricsLog(folder, start))
            self._progress = self.enter_context(
                Progress("training", "step", int(engine.config.train.steps), start)
            )
        self.speed = Speed()
        self._learning_rates = _learning_rates(engine)
        self._unwritten: tuple[int, Metrics] | None = None

    def training(self, step: int, state: TrainState) -> TrainState:
        """Takes the training metrics since the last row, for `write`; the state's begin anew."""
        self._unwritten = step, state.metrics
        return self.engine.with_zero_metrics(state)

    def write(self) -> None:
        """Writes the row that was taken, if any, for whose metrics it waits."""
        if self._unwritten is None:
            return
        step, metrics = self._unwritten
        self._unwritten = None
        values, rates = read_sums(metrics), self.speed.row()
        row = {f"train/{name}": value for name, value in values.items()}
        row["train/learning_rate"] = self._learning_rates[step]
        best = self.engine.experiment.best
        shown = next(name for name in ("loss", best, *values) if name in values)
        self._say(
            step,
            row,
            {shown: values[shown], "steps/s": rates["steps_per_second"]},
            clock={f"train/{name}": value for name, value in rates.items()},
        )

    def _say(
        self,
        step: int,
        row: Mapping[str, float],
        shown: Mapping[str, float],
        clock: Mapping[str, float] | None = None,
    ) -> None:
        if self._log and self._progress:
            self._log.write(step, row, clock)
            self._progress.report({name: f"{value:.4g}" for name, value in shown.items()}, step)

    def count(self, steps: int, counts: tuple[int, int], flops: float) -> None:
        """Counts a call: its steps, its examples and frames, its operations."""
        self.speed.add(steps, counts, flops)
        if self._progress:
            self._progress.advance(steps)

    def monitored(self, step: int, state: TrainState) -> None:
        """Logs what the experiment's monitor measures, if it has one and the config asks for it."""
        monitor = self.engine.experiment.monitor
        if monitor is None or self.engine.config.train.monitor_every is None:
            return
        self.write()
        with self.speed.paused(), jax.transfer_guard("allow"):
            values = monitor(*self.engine.everywhere((state.params, state.model_state)))
            if self._log:
                self._log.write(step, {f"flow/{name}": value for name, value in values.items()})

    def evaluation(self, step: int, state: TrainState) -> dict[str, float]:
        """Evaluates on the whole set and logs it."""
        self.write()
        with self.speed.paused():
            values = evaluate(self.engine, state, self.alive)
            best = self.engine.experiment.best
            row = {f"eval/{name}": value for name, value in values.items()}
            self._say(step, row, {f"eval {best}": values[best]})
        return values


def _learning_rates(engine: Engine) -> dict[int, float]:
    """Of the updates that lead to the steps whose rows are written, all at once."""
    config = engine.config
    last, every = int(config.train.steps), int(config.train.log_every)
    steps = np.unique([*range(every, last + 1, every), last])
    schedule = jax.jit(jax.vmap(make_schedule(config.optimizer, last)))
    return dict(zip(steps.tolist(), jax.device_get(schedule(steps - 1)).tolist(), strict=True))
