"""The training loop: from a run's folder to a trained state, with everything written on the way.

The loop also restores states of a run for the modes that only read.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dlcore.training.callbacks.callback import Start
from dlcore.training.callbacks.run_callbacks import RunCallbacks
from dlcore.training.calls import CallInputs, Due, PendingCalls, due_after, prefetch_calls
from dlcore.training.checkpoints.fine_tune import initialize_from
from dlcore.training.checkpoints.folder import read_callbacks, saved_steps
from dlcore.training.checkpoints.location import checkpoints_path
from dlcore.training.checkpoints.manager import Checkpoints
from dlcore.training.distributed import say_once
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate
from dlcore.training.experiment import ModelState, Params
from dlcore.training.faults.nonfinite import NonFiniteError
from dlcore.training.faults.signals import Interrupted, StopSignals
from dlcore.training.faults.watchdog import Watchdog
from dlcore.training.optimizers.clipping import update_count
from dlcore.training.run import Run
from dlcore.training.run_files import check_run_files
from dlcore.training.state import TrainState
from dlcore.training.telemetry.profile import Trace
from dlcore.training.telemetry.recorder import Recorder

INITIAL = "initial"


class TrainingResult(NamedTuple):
    """The result of a finished run.

    Attributes:
        state: the last state.
        evaluation: the evaluation of the last state.
        seconds: how many seconds `train` took in this process.
        stopped: the reason for which a callback stopped the run before its last step; None if none did.
    """

    state: TrainState
    evaluation: Mapping[str, Any]
    seconds: float
    stopped: str | None = None


def train(engine: Engine, folder: Path, profile: str | None = None) -> TrainingResult:
    """Trains to ``config.train.steps``, from the newest whole checkpoint in ``folder`` if there is one.

    A callback may stop the run before. Writes ``metrics.csv``, TensorBoard events and ``checkpoints/`` into the folder.
    A checkpoint is saved every ``checkpoint.every`` steps, after the last step, and after every evaluation that is
    better than all before.

    Args:
        engine: the engine of an experiment that `contract.check_model` accepts.
        folder: the run's folder.
        profile: the steps to trace, as ``"FIRST-LAST"``; None traces nothing.

    Returns:
        A `TrainingResult`: the last state, its evaluation, the seconds, and why a callback stopped the run. The
        evaluation is never that of the best checkpoint, which was chosen on the evaluation set.

    Raises:
        Interrupted: Ctrl-C or a signal of `job.PREEMPTING` stopped the run; its state is saved, unless no step was
            done yet.
        NonFiniteError: a loss, gradient or update was not finite, and ``train.on_nan`` is ``stop`` or ``raise``; or the
            update of every step of the run was left out; or an evaluation is NaN, see `evaluation.evaluate`.
        CallbackError: a callback failed; the state after the step at which it failed is saved.
        CheckpointError: a checkpoint could not be written, for instance on a full disk; as LostFolderError: the folder
            was deleted, moved or replaced during training.
        ValueError: ``profile`` has another form or starts after the last step; or the checkpoint, or that of
            ``init_from``, does not fit the model.
    """
    began, config, last = time.monotonic(), engine.config, int(engine.config.train.steps)
    trace = Trace(folder, profile, last)
    with contextlib.ExitStack() as stack:
        stop_signals = stack.enter_context(StopSignals(config.checkpoint.grace))
        watchdog = stack.enter_context(Watchdog(config.train.hang_timeout))
        callbacks = stack.enter_context(RunCallbacks(engine.callbacks, watchdog))
        checkpoints = stack.enter_context(open_checkpoints(engine, folder))
        engine.while_compiling = functools.partial(_compiling, watchdog)
        state = restore_or_initialize(engine, checkpoints)
        start = int(state.step)
        if signal_number := stop_signals.signal_at(start):
            raise Interrupted(start, signal_number)
        callbacks.start(Start(folder, start, config), read_callbacks(checkpoints.folder / str(start)))
        recorder = stack.enter_context(Recorder(engine, folder, start, watchdog, callbacks))
        stack.enter_context(contextlib.closing(trace))
        all_inputs = stack.enter_context(contextlib.closing(prefetch_calls(engine, start)))
        stack.enter_context(jax.transfer_guard("disallow"))
        pending, evaluation = PendingCalls(engine, folder), None

        while not callbacks.stopped and (inputs := next_inputs(all_inputs, recorder)) is not None:
            trace.before_call(inputs.steps)
            state, bad_step = run_call(engine, state, inputs, recorder)
            step = inputs.steps.stop
            recorder.write_row()  # the row of the call before, while the devices work on this call
            pending.add(bad_step, state)
            trace.after_call(step, bad_step)
            recorder.end_call()

            signal_number = stop_signals.signal_at(step) if step < last else 0
            due = due_after(step, config)
            if any(due) or signal_number:
                pending.wait(state)
            state, evaluation = _record(due, recorder, step, state)
            if due.checkpoint or signal_number or callbacks.end_the_run or checkpoints.is_best(evaluation):
                _save(checkpoints, recorder, step, state, evaluation)
            if signal_number:
                raise Interrupted(step, signal_number)

        evaluation = evaluation or evaluate(engine, state, watchdog.reset)  # there was no step left to do
    return _checked(TrainingResult(state, evaluation, time.monotonic() - began, callbacks.stopped))


def _checked(trained: TrainingResult) -> TrainingResult:
    """The same result; NonFiniteError if its state is still the initial one, since no step gave an update."""
    if update_count(trained.state.opt_state) == 0:
        raise NonFiniteError(
            int(trained.state.step),
            "the update of every step was left out, since none was finite (--config.train.on_nan); the run learned "
            "nothing",
        )
    return trained


def restore_or_initialize(engine: Engine, checkpoints: Checkpoints) -> TrainState:
    """The `TrainState` from which the run starts: that of the newest whole checkpoint, or else the initial state.

    Damaged checkpoints are set aside.

    Raises:
        ValueError: the checkpoint, or that of ``init_from``, does not fit the model.
    """
    newest = checkpoints.set_aside_damaged()
    if newest is None:
        return initialize(engine)
    state = checkpoints.restore(engine.abstract_state, newest)
    say_once(f"going on from step {newest}")
    return state


def initialize(engine: Engine) -> TrainState:
    """The `TrainState` at step 0, whose parameters the setting ``init_from`` fills from a checkpoint.

    Raises:
        ValueError: the checkpoint of ``init_from`` does not fit the model.
    """
    state, config = engine.initial_state(), engine.config
    if config.init_from is None:
        return state
    params, model_state, report = initialize_from(
        state.params, state.model_state, config.init_from, config.init_map, config.init_weights
    )
    say_once(report.text())
    average = None if state.average is None else jax.tree.map(lambda leaf: leaf.copy(), params)
    return state.replace(params=params, model_state=model_state, average=average)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _compiling(watchdog: Watchdog, what: str) -> Iterator[None]:
    """What a `Recorder` does while something is compiled, for the time before there is one."""
    say_once(what)
    with watchdog.paused():
        yield


def next_inputs(all_inputs: Iterator[CallInputs], recorder: Recorder) -> CallInputs | None:
    """The `CallInputs` of the next call; None after the last call. The recorder gets the time of the wait."""
    with recorder.speed.waiting_for_data():
        return next(all_inputs, None)


def run_call(
    engine: Engine, state: TrainState, inputs: CallInputs, recorder: Recorder
) -> tuple[TrainState, jax.Array]:
    """Starts a call on the devices and records its size.

    Returns:
        The new state, and a copy of its ``bad_step`` (see `engine.Program`). The old state's buffers are gone.
    """
    compiled_before = engine.compile_seconds
    program = engine.program(inputs.batch, len(inputs.steps))
    recorder.speed.add_compilation(engine.compile_seconds - compiled_before)
    recorder.count_call(len(inputs.steps), inputs.counts, program.flops)
    return program.call(state, inputs.batch)


def _record(
    due: Due, recorder: Recorder, step: int, state: TrainState
) -> tuple[TrainState, Mapping[str, Any] | None]:
    """Logs, measures and evaluates what is due; returns the state without logged metrics, and the evaluation if any."""
    if due.log:
        state = recorder.take_metrics(step, state)
    if due.monitor:
        recorder.record_monitor(step, state)
    due_now = due.evaluation or recorder.callbacks.stopped  # the last state of a run is always evaluated
    return state, recorder.record_evaluation(step, state) if due_now else None


def _save(
    checkpoints: Checkpoints,
    recorder: Recorder,
    step: int,
    state: TrainState,
    evaluation: Mapping[str, Any] | None,
) -> None:
    """Saves a checkpoint; the rows up to its step are written first, since a resumed run does not log them again.

    Raises:
        CallbackError: a callback failed at this step.
    """
    recorder.write_row()
    recorder.guard.check_all()  # Orbax would make a folder that is gone again
    callbacks = recorder.callbacks
    with recorder.speed.paused():
        checkpoints.save(step, state, evaluation, callbacks.to_save(step))
        if callbacks.want_checkpoints:
            checkpoints.wait()
            callbacks.on_checkpoint(step, checkpoints.folder / str(step))
    callbacks.raise_failure()


def restore(run: Run) -> TrainState:
    """The whole `TrainState` of the run's ``checkpoint``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint is damaged or does not fit the model or the optimizer.
    """
    with open_checkpoints(run.engine, run.folder) as checkpoints:
        return checkpoints.restore(run.engine.abstract_state, checkpoints.find_step(run.checkpoint))


def restore_model(run: Run) -> TrainState:
    """The `TrainState` of the run's ``checkpoint`` with only ``step``, ``params``, ``model_state`` and ``average``.

    ``opt_state`` and ``remainders`` are None, ``metrics`` is empty, and ``bad_step`` is a ``jax.ShapeDtypeStruct``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint is damaged or does not fit the model; or as in `run_files.check_run_files`.
    """
    check_run_files(run.folder, run.experiment.files)
    whole = run.engine.abstract_state
    wanted = {name: getattr(whole, name) for name in ("step", "params", "model_state", "average")}
    with open_checkpoints(run.engine, run.folder) as checkpoints:
        found = checkpoints.restore_fields(wanted, checkpoints.find_step(run.checkpoint))
    return whole.replace(opt_state=None, metrics={}, remainders=None, **found)  # type: ignore[attr-defined]


def named_states(run: Run) -> Iterator[tuple[str, TrainState]]:
    """Yields a pair (name, `TrainState`) for each state that the run's ``checkpoint`` means.

    In addition to the values that `restore_model` accepts, ``"initial"`` means the state in which training starts (see
    `initialize`), and ``"all"`` means that state and then the one of every checkpoint. In a run without a checkpoint,
    ``"newest"`` means the initial state. The names are ``"initial"`` and ``"step N"``.

    Raises:
        FileNotFoundError, ValueError: as in `restore_model`.
    """
    steps = saved_steps(checkpoints_path(run.folder, run.config.checkpoint))
    wanted: list[Any] = [INITIAL, *steps] if run.checkpoint == "all" else [run.checkpoint]
    for checkpoint in wanted:
        if checkpoint == INITIAL or (checkpoint == "newest" and not steps):
            yield INITIAL, initialize(run.engine)
        else:
            state = restore_model(dataclasses.replace(run, checkpoint=checkpoint))
            yield f"step {state.step}", state


def model_on_host(engine: Engine, state: TrainState) -> tuple[Params, ModelState]:
    """The state's ``evaluated_params`` and ``model_state`` as NumPy arrays; all processes of a job must call it."""
    return jax.device_get(engine.replicate((state.evaluated_params, state.model_state)))


def open_checkpoints(engine: Engine, folder: Path) -> Checkpoints:
    """The `Checkpoints` of the run in a folder; use them as a context manager."""
    experiment, config = engine.experiment, engine.config.checkpoint
    return Checkpoints(checkpoints_path(folder, config), config, experiment.best, experiment.minimizes)
