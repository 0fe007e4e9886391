"""Hands a run's rows on: to the logs for later, to the progress report for now, and to the run's callbacks."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from dlcore.training.callbacks.callback import Callback, Start
from dlcore.training.callbacks.run_callbacks import RunCallbacks
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate, read_sums
from dlcore.training.experiment import Metrics
from dlcore.training.faults.lost_folder import FolderGuard
from dlcore.training.faults.watchdog import Watchdog
from dlcore.training.metrics.values import to_numbers
from dlcore.training.run_folder import LOCK
from dlcore.training.state import TrainState
from dlcore.training.step import NONFINITE
from dlcore.training.telemetry.events import Events
from dlcore.training.telemetry.metrics_log import TABLE, MetricsLog
from dlcore.training.telemetry.speed import Speed
from dlcore.utils.checks import check_instance, shown
from dlcore.utils.progress import Progress


class Recorder(contextlib.ExitStack):
    """Hands a run's rows to ``metrics.csv``, TensorBoard, the progress report and the callbacks; a context manager.

    A training row is taken after a call and written after the next call has begun, so that the devices work meanwhile;
    if the run has callbacks, it is written at once, since one of them may stop the run after this step. An evaluation
    is written at once. If there are several processes, only the first one writes and prints.

    Args:
        engine: the run's engine.
        folder: the run's folder.
        start: the step from which the run goes on.
        watchdog: is reset after every batch of an evaluation, and paused while something is compiled.
        callbacks: the run's callbacks, which get every row after it is written.

    Attributes:
        callbacks: the argument.
        guard: watches ``metrics.csv`` and the folder's lock.
        speed: the rates of training.
    """

    def __init__(self, engine: Engine, folder: Path, start: int, watchdog: Watchdog, callbacks: RunCallbacks):
        super().__init__()
        self.engine, self._watchdog, self.callbacks = engine, watchdog, callbacks
        self._writers: list[Callback] = []
        self._progress = None
        if jax.process_index() == 0:
            self._open_writers(Start(folder, start, engine.config))
            self._progress = self.enter_context(
                Progress("training", "step", int(engine.config.train.steps), start)
            )
        self.guard = self.enter_context(FolderGuard(folder / TABLE, folder / LOCK))
        self.speed = Speed()
        engine.while_compiling = self.compiling
        self.callback(setattr, engine, "while_compiling", contextlib.nullcontext)
        self._pending: tuple[int, Metrics, Mapping[str, jax.Array]] | None = None

    def _open_writers(self, start: Start) -> None:
        train = start.config.train
        every = {"train/": int(train.log_every), "eval/": int(train.eval_every)}
        for writer in (MetricsLog(every), *([Events()] if start.config.log.tensorboard else [])):
            writer.on_start(start)
            self.callback(writer.on_end, None)
            self._writers.append(writer)

    @contextlib.contextmanager
    def compiling(self, what: str) -> Iterator[None]:
        """A context manager that says what is compiled; its time counts neither as training nor for the time left."""
        progress = self._progress.paused(what) if self._progress else contextlib.nullcontext()
        with self._watchdog.paused(), progress:
            yield

    def count_call(self, steps: int, counts: tuple[int, int], flops: float) -> None:
        """Counts a call of the devices for the rates and the progress; for the arguments see `Speed.add_call`."""
        self.speed.add_call(steps, counts, flops)
        if self._progress:
            self._progress.advance(steps)

    def end_call(self) -> None:
        """Resets the watchdog, and looks whether the folder is still there; the loop calls this after every call.

        Raises:
            LostFolderError: it is not, and nobody would find what the run writes.
        """
        self._watchdog.reset()
        self.guard.check()

    def take_metrics(self, step: int, state: TrainState) -> TrainState:
        """Keeps the training metrics since the last row for `write_row`.

        Args:
            step: the number of steps so far.
            state: the state after this step.

        Returns:
            A copy of the state in which all sums of metrics are 0.
        """
        with jax.transfer_guard("allow"):
            learning_rates = self.engine.learning_rates(state.opt_state)
        self._pending = step, state.metrics, learning_rates
        if self.callbacks:
            self.write_row()
        return self.engine.with_zero_metrics(state)

    def write_row(self) -> None:
        """Writes the row of the metrics that `take_metrics` kept, if any; waits until the devices computed them."""
        if self._pending is None:
            return
        step, metrics, learning_rates = self._pending
        self._pending = None
        metrics, rates = jax.device_get(metrics), self.speed.read_rates()
        if NONFINITE in metrics and not metrics["gradient_norm"].weight:  # every step of the row was left out
            metrics, learning_rates = {NONFINITE: metrics[NONFINITE]}, {}
        values = to_numbers(read_sums(metrics))
        row = {f"train/{name}": value for name, value in values.items()}
        row |= {f"train/{name}": rate.item() for name, rate in jax.device_get(learning_rates).items()}
        best = self.engine.experiment.best
        shown = next(name for name in ("loss", best, *values) if name in values)
        report = {shown: values[shown], "steps/s": rates["steps_per_second"]}
        clock = {f"train/{name}": value for name, value in rates.items()}
        with self.speed.paused() if self.callbacks else contextlib.nullcontext():
            self._record(step, row, report, clock)

    def record_monitor(self, step: int, state: TrainState) -> None:
        """Logs what the experiment's monitor measures of the state's parameters and model state.

        The loop decides when to call this. It does nothing if the experiment has no monitor or ``train.monitor_every``
        is None. All processes must call it; the first one writes.
        """
        monitor = self.engine.experiment.monitor
        if monitor is None or self.engine.config.train.monitor_every is None:
            return
        self.write_row()
        with self.speed.paused(), self._watchdog.paused(), jax.transfer_guard("allow"):
            values = monitor(*self.engine.replicate((state.params, state.model_state)))
            self._record(step, _monitored(values), {})

    def record_evaluation(self, step: int, state: TrainState) -> dict[str, Any]:
        """Evaluates the state on the whole evaluation set and logs the result; returns the metrics by name."""
        self.write_row()
        with self.speed.paused():
            values = evaluate(self.engine, state, self._watchdog.reset)
            best = self.engine.experiment.best
            row = {f"eval/{name}": value for name, value in to_numbers(values).items()}
            self._record(step, row, {f"eval {best}": values[best]})
            self.callbacks.on_evaluation(step, values)
        return values

    def _record(
        self,
        step: int,
        row: Mapping[str, float],
        shown: Mapping[str, float],
        clock: Mapping[str, float] | None = None,
    ) -> None:
        for writer in self._writers:
            writer.on_row(step, row, clock or {})
        if self._progress and shown:
            self._progress.report({name: f"{value:.4g}" for name, value in shown.items()}, step)
        self.callbacks.on_row(step, row, clock or {})


def _monitored(values: Any) -> dict[str, float]:
    """What a monitor returned as a row; TypeError if it is no dict of numbers, which may be arrays of one number."""
    check_instance("monitor", values, Mapping, "a dict of numbers by name")
    row: dict[str, float] = {}
    for name, value in values.items():
        try:
            row[f"flow/{name}"] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"monitor: got {shown(value)} as {name}, expected a number") from None
    return row
