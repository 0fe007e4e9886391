"""The training loop: from a run's folder to a trained state, with everything written on the way."""

import collections
import contextlib
import dataclasses
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dlcore.data.pipeline import prefetch
from dlcore.train.checkpoints.fine_tune import initialize_from
from dlcore.train.checkpoints.folder import CHECKPOINTS, saved_steps
from dlcore.train.checkpoints.manager import Checkpoints
from dlcore.train.engine import Engine, intervals, split_into_calls
from dlcore.train.evaluation import evaluate
from dlcore.train.experiment import Batch, ModelState, Params
from dlcore.train.faults.nonfinite import diagnose
from dlcore.train.faults.signals import Interrupted, StopSignals
from dlcore.train.faults.watchdog import Watchdog
from dlcore.train.run import Run
from dlcore.train.state import NONE_BAD, TrainState
from dlcore.train.telemetry import speed
from dlcore.train.telemetry.profile import Trace
from dlcore.train.telemetry.recorder import Recorder

INITIAL = "initial"
IN_FLIGHT = 2  # calls that the devices may be behind the loop


class Trained(NamedTuple):
    """What a finished run leaves: the last state, its evaluation, how long this process trained."""

    state: TrainState
    evaluation: Mapping[str, float]
    seconds: float


class Work(NamedTuple):
    """What a call needs: its steps, their batches on the devices, and how many examples and frames they hold."""

    steps: range
    batch: Batch
    counts: tuple[int, int]


def train(engine: Engine, folder: Path, profile: str | None = None) -> Trained:
    """Trains to ``config.train.steps``, from the newest whole checkpoint in ``folder`` where there is one.

    Writes ``metrics.csv``, TensorBoard events and ``checkpoints/`` into the folder. The result is the
    evaluation of the last state, never of the best: the best was chosen on the evaluation set. The experiment
    is one that `experiment.check_model` let pass.

    Args:
        engine: the experiment's, on its mesh.
        folder: the run's.
        profile: steps to trace, as ``"FIRST-LAST"``.

    Raises:
        Interrupted: after Ctrl-C, SIGTERM or SIGUSR1, when the state is saved.
        NonFiniteError: a loss, gradient or update was not finite.
        CheckpointError: a checkpoint could not be written, for instance on a full disk.
    """
    began, config = time.monotonic(), engine.config
    last = int(config.train.steps)
    trace = Trace(folder, profile, last)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignals(config.checkpoint.grace))
        watchdog = stack.enter_context(Watchdog(config.train.hang_timeout))
        checkpoints = stack.enter_context(open_checkpoints(engine, folder))
        state = restore_or_initialize(engine, checkpoints)
        start = int(state.step)
        if number := stop.requested(start):
            raise Interrupted(start, number)
        recorder = stack.enter_context(Recorder(engine, folder, start, watchdog.alive))
        stack.enter_context(contextlib.closing(trace))
        works = stack.enter_context(contextlib.closing(prefetch_calls(engine, start)))
        stack.enter_context(jax.transfer_guard("disallow"))
        calls = Calls(engine, folder)
        evaluation = None

        while (work := next_work(works, recorder)) is not None:
            trace.before(work.steps)
            state, bad_step = run_call(engine, state, work, recorder)
            step, evaluation = work.steps.stop, None
            recorder.write()  # the row of the call before: meanwhile the devices work on this one
            calls.add(bad_step, state)
            trace.after(step, bad_step)
            watchdog.alive()

            stopped_by = stop.requested(step) if step < last else 0
            log_due, eval_due, checkpoint_due, monitor_due = (
                step % every == 0 or step == last for every in intervals(config)
            )
            if log_due or eval_due or checkpoint_due or monitor_due or stopped_by:
                calls.wait(state)
            if log_due:
                state = recorder.training(step, state)
            if monitor_due:
                recorder.monitored(step, state)
            if eval_due:
                evaluation = recorder.evaluation(step, state)
            if checkpoint_due or stopped_by:
                recorder.write()  # on disk before the state that goes on behind it
                with recorder.speed.paused():
                    checkpoints.save(step, state, evaluation)
            if stopped_by:
                raise Interrupted(step, stopped_by)

        if evaluation is None:  # the run had ended before this process began
            evaluation = evaluate(engine, state, watchdog.alive)
    return Trained(state, evaluation, time.monotonic() - began)


def restore_or_initialize(engine: Engine, checkpoints: Checkpoints) -> TrainState:
    """The state that the run goes on from: of the newest whole checkpoint, or the first one."""
    newest = checkpoints.newest_good()
    if newest is not None:
        return checkpoints.restore(engine.abstract_state, newest)
    state, config = engine.initial_state(), engine.config
    if config.init_from is None:
        return state
    params, model_state, report = initialize_from(
        state.params, state.model_state, config.init_from, config.init_map
    )
    print(report.text(), file=sys.stderr)
    average = None if state.average is None else jax.tree.map(lambda leaf: leaf.copy(), params)
    return state.replace(params=params, model_state=model_state, average=average)  # type: ignore[attr-defined]


def prefetch_calls(engine: Engine, start: int) -> Generator[Work]:
    """The work of every call from step ``start`` on, made ahead of it by other threads."""
    config = engine.config.train

    def make(steps: range) -> Work:
        batches = [engine.host_batch(step) for step in steps]
        counts = [speed.count(batch) for batch in batches]
        examples, frames = (engine.shares * sum(column) for column in zip(*counts, strict=True))
        return Work(steps, engine.placed(batches), (examples, frames))

    return prefetch(make, split_into_calls(start, engine.config), config.prefetch, config.prefetch_workers)


def next_work(works: Iterator[Work], recorder: Recorder) -> Work | None:
    with recorder.speed.waiting_for_data():
        return next(works, None)


def run_call(
    engine: Engine, state: TrainState, work: Work, recorder: Recorder
) -> tuple[TrainState, jax.Array]:
    """Starts a call on the devices and counts it."""
    compiled_before = engine.compile_seconds
    program = engine.program(work.batch, len(work.steps))
    recorder.speed.compiled(engine.compile_seconds - compiled_before)
    recorder.count(len(work.steps), work.counts, program.flops)
    return program.call(state, work.batch)


class Calls:
    """The calls that the devices have not finished; whoever waits for them sees whether they were finite.

    Args:
        engine: of the run.
        folder: the run's, for what is written aside.
    """

    def __init__(self, engine: Engine, folder: Path):
        self._engine, self._folder = engine, folder
        self._most = 0 if engine.config.train.on_nan == "raise" else IN_FLIGHT
        self._unfinished: collections.deque[jax.Array] = collections.deque()

    def add(self, bad_step: jax.Array, state: TrainState) -> None:
        """Takes the ``bad_step`` of a call that has begun, behind which ``state`` is; waits for those long before."""
        self._unfinished.append(bad_step)
        self.wait(state, self._most)

    def wait(self, state: TrainState, most: int = 0) -> None:
        """Waits until at most so many are unfinished.

        Raises:
            NonFiniteError: one of them was not finite.
        """
        while len(self._unfinished) > most:
            if jax.device_get(self._unfinished.popleft()) != NONE_BAD:
                raise diagnose(self._engine, state, self._folder)


def restore(run: Run) -> TrainState:
    """The whole state of the checkpoint that the run names; FileNotFoundError where there is none."""
    with open_checkpoints(run.engine, run.folder) as checkpoints:
        return checkpoints.restore(run.engine.abstract_state, checkpoints.step(run.checkpoint))


def restore_model(run: Run) -> TrainState:
    """The state of the checkpoint that the run names, without the optimizer's part and the metrics."""
    whole = run.engine.abstract_state
    wanted = {name: getattr(whole, name) for name in ("step", "params", "model_state", "average")}
    with open_checkpoints(run.engine, run.folder) as checkpoints:
        found = checkpoints.restore_model(wanted, checkpoints.step(run.checkpoint))
    return whole.replace(opt_state=None, metrics={}, **found)  # type: ignore[attr-defined]


def named_states(run: Run) -> Iterator[tuple[str, TrainState]]:
    """The states that the run names, with what to call them: ``initial`` and ``all`` beside those of `restore_model`.

    The newest one of a run without a checkpoint is the initial one.
    """
    steps = saved_steps(run.folder / CHECKPOINTS)
    wanted: list[Any] = [INITIAL, *steps] if run.checkpoint == "all" else [run.checkpoint]
    for checkpoint in wanted:
        if checkpoint == INITIAL or (checkpoint == "newest" and not steps):
            yield INITIAL, run.engine.initial_state()
        else:
            state = restore_model(dataclasses.replace(run, checkpoint=checkpoint))
            yield f"step {state.step}", state


def model_on_host(engine: Engine, state: TrainState) -> tuple[Params, ModelState]:
    """The parameters to use and the model state as NumPy arrays; all processes have to call it."""
    return jax.device_get(engine.everywhere((state.evaluated_params, state.model_state)))


def open_checkpoints(engine: Engine, folder: Path) -> Checkpoints:
    """The checkpoints in a run's folder."""
    experiment = engine.experiment
    return Checkpoints(
        folder / CHECKPOINTS, engine.config.checkpoint, experiment.best, experiment.lower_is_better
    )
