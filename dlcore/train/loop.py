"""The training loop: from a run's folder to a trained state, with everything written on the way."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import optax

from dlcore.data.pipeline import read_ahead
from dlcore.train.checkpoint import Checkpoints
from dlcore.train.evaluation import evaluate, read_sums
from dlcore.train.experiment import Config, Experiment, Metrics, Run
from dlcore.train.logging import MetricsLog, ProgressReport
from dlcore.train.optimizer import make_optimizer, make_schedule
from dlcore.train.state import TrainState, initial_state
from dlcore.train.step import EvalStep, make_eval_step, make_train_step


class Interrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C; its state at ``step`` is saved."""

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}; everything up to it is saved")
        self.step = step


class Trained(NamedTuple):
    """What a finished run leaves: the last state, its evaluation, and how long this process trained."""

    state: TrainState
    evaluation: Mapping[str, float]
    seconds: float


def train(experiment: Experiment, config: Config, folder: Path) -> Trained:
    """Trains to ``config.train.steps``, from the newest checkpoint in ``folder`` where there is one.

    Writes ``metrics.csv``, TensorBoard events and ``checkpoints/`` into the folder. The result is the
    evaluation of the last state, never of the best: the best was chosen on the evaluation set. The experiment
    is one that `experiment.check_model` let pass.

    Raises:
        Interrupted: after Ctrl-C, when the state is saved.
    """
    began, steps = time.monotonic(), config.train.steps
    optimizer = make_optimizer(config.optimizer, steps)
    train_step = make_train_step(experiment, optimizer, config.seed)
    eval_step = make_eval_step(experiment)
    state = initial_state(experiment, optimizer, config.seed, train_step)

    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(open_checkpoints(experiment, config, folder))
        if checkpoints.newest is not None:
            state = checkpoints.restore(state, checkpoints.newest)
        start = int(state.step)
        log = stack.enter_context(MetricsLog(folder, start))
        progress = stack.enter_context(ProgressReport(start, steps))
        interrupts = stack.enter_context(caught_interrupts())
        batches = stack.enter_context(
            contextlib.closing(
                read_ahead(
                    experiment.train_data, range(start, steps), jax.device_put, config.train.read_ahead
                )
            )
        )
        recorder = Recorder(
            experiment, eval_step, make_schedule(config.optimizer, steps), log, progress, start
        )
        evaluation = None

        for step, batch in enumerate(batches, start + 1):
            state = train_step(state, batch)
            recorder.write()  # the row of the step before: meanwhile the device works on this one
            progress.advance()
            evaluation = None
            if step % config.train.log_every == 0 or step == steps:
                state = recorder.training(step, state)
            if step % config.train.eval_every == 0 or step == steps:
                evaluation = recorder.evaluation(step, state)
            if step % config.checkpoint.every == 0 or step == steps or interrupts:
                recorder.write()  # on disk before the state that goes on behind it
                checkpoints.save(step, state, evaluation)
            if interrupts and step < steps:
                raise Interrupted(step)

        if evaluation is None:  # the run had ended before this process began
            evaluation = evaluate(eval_step, state, experiment.eval_data)
    return Trained(state, evaluation, time.monotonic() - began)


def restore(run: Run) -> TrainState:
    """The state of the checkpoint that the run names; FileNotFoundError where there is none."""
    experiment, config = run.experiment, run.config
    optimizer = make_optimizer(config.optimizer, config.train.steps)
    with open_checkpoints(experiment, config, run.folder) as checkpoints:
        step = checkpoints.step(run.checkpoint)
        train_step = make_train_step(experiment, optimizer, config.seed)
        return checkpoints.restore(initial_state(experiment, optimizer, config.seed, train_step), step)


def open_checkpoints(experiment: Experiment, config: Config, folder: Path) -> Checkpoints:
    """The checkpoints in a run's folder."""
    return Checkpoints(folder / "checkpoints", config.checkpoint, experiment.best, experiment.lower_is_better)


class Recorder:
    """Writes a run's rows: to the log for later, to the progress report for now."""

    def __init__(
        self,
        experiment: Experiment,
        eval_step: EvalStep,
        schedule: optax.Schedule,
        log: MetricsLog,
        progress: ProgressReport,
        step: int,
    ):
        self.experiment, self.eval_step, self.schedule = experiment, eval_step, jax.jit(schedule)
        self.log, self.progress = log, progress
        self._last_step, self._last_time = step, time.monotonic()
        self._unwritten: tuple[int, Metrics] | None = None

    def training(self, step: int, state: TrainState) -> TrainState:
        """Takes the training metrics since the last row, for `write`; the state's begin anew."""
        self._unwritten = step, state.metrics
        return state.with_zero_metrics()

    def write(self) -> None:
        """Writes the row that was taken, if any; to read it is the loop's only wait for the device."""
        if self._unwritten is None:
            return
        step, metrics = self._unwritten
        self._unwritten = None
        values = read_sums(metrics)
        rate = (step - self._last_step) / (time.monotonic() - self._last_time)
        self._last_step, self._last_time = step, time.monotonic()
        row = {f"train/{name}": value for name, value in values.items()}
        row["train/learning_rate"] = float(self.schedule(step - 1))
        self.log.write(step, row, {"train/steps_per_second": rate})
        shown = next(name for name in ("loss", self.experiment.best, *values) if name in values)
        self.progress.report(step, {shown: values[shown], "steps/s": rate})

    def evaluation(self, step: int, state: TrainState) -> dict[str, float]:
        """Evaluates on the whole set and logs it; its time does not count in the steps per second."""
        self.write()
        began = time.monotonic()
        values = evaluate(self.eval_step, state, self.experiment.eval_data)
        self.log.write(step, {f"eval/{name}": value for name, value in values.items()})
        best = self.experiment.best
        self.progress.report(step, {f"eval {best}": values[best]})
        self._last_time += time.monotonic() - began
        return values


@contextlib.contextmanager
def caught_interrupts() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C; the second Ctrl-C stops at once, as ever.

    Python lets only the main thread handle signals: elsewhere the list stays empty.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    previous = signal.getsignal(signal.SIGINT)

    def handle(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, previous)
