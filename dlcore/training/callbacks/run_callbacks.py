"""Calls the callbacks of a run, keeps their decisions and their states, and names the one that fails."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from dlcore.training.callbacks.callback import Callback, Start, Stop
from dlcore.training.callbacks.early_stopping import EarlyStopping
from dlcore.training.callbacks.mlflow_logger import MLflowLogger
from dlcore.training.callbacks.wandb_logger import WandbLogger
from dlcore.training.config import Config
from dlcore.training.distributed import gather_texts, say_once
from dlcore.training.experiment import Experiment
from dlcore.training.faults.watchdog import Watchdog
from dlcore.utils.streams import say


class CallbackError(RuntimeError):
    """A callback raised an error, which is the ``__cause__``; the message names its class, its method and the step."""


def all_callbacks(experiment: Experiment, config: Config) -> tuple[Callback, ...]:
    """The callbacks of an experiment, and then those that the settings ``stop`` and ``log`` of its config ask for.

    Raises:
        ImportError: a logger's package is not installed.
    """
    stop, log = config.stop, config.log
    asked: list[Callback] = []
    if stop.patience is not None:
        minimize = experiment.minimizes
        asked.append(
            EarlyStopping(
                experiment.best, stop.patience, min_change=stop.min_change, lower_is_better=minimize
            )
        )
    if log.wandb is not None:
        asked.append(WandbLogger(log.wandb))
    if log.mlflow is not None:
        asked.append(MLflowLogger(log.mlflow))
    return *experiment.callbacks, *asked


class RunCallbacks:
    """The callbacks of one run; a context manager that calls `Callback.on_end` at its end.

    The first process calls the callbacks, each with dicts and a config of its own. All processes of a job must call the
    same methods of this object, which tell them what the first one's callbacks decided.

    Args:
        callbacks: the callbacks in the order of their calls.
        watchdog: is paused while they work.

    Attributes:
        stopped: the reason for which a callback stopped the run; None if none did.
    """

    def __init__(self, callbacks: Sequence[Callback], watchdog: Watchdog):
        self._callbacks: dict[str, Callback] = {}
        for callback in callbacks:
            name = type(callback).__name__
            number = 1 + sum(type(other).__name__ == name for other in self._callbacks.values())
            self._callbacks[name if number == 1 else f"{name}#{number}"] = callback
        self._watchdog = watchdog
        self._started, self._step = False, 0
        self._failure: CallbackError | None = None
        self.stopped: str | None = None

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def __enter__(self) -> "RunCallbacks":
        return self

    def start(self, start: Start, saved: Mapping[str, Any]) -> None:
        """Calls `Callback.on_start`, and `Callback.restore` of the callbacks that have a saved state.

        Args:
            start: what they get to know.
            saved: what `to_save` returned at this step; empty in a new run.

        Raises:
            CallbackError: a callback failed, or its state is nothing that JSON knows.
        """
        states: Mapping[str, Any] = saved.get("states", {})
        self.stopped, self._started = saved.get("stopped"), True
        for name in sorted(states.keys() - self._callbacks.keys()):
            say_once(f"callbacks: this run has no {name}; its state in the checkpoint is not used")
        self._call(start.step, "on_start", lambda _, callback: callback.on_start(copy.deepcopy(start)))
        self._call(
            start.step,
            "restore",
            lambda name, callback: callback.restore(states[name]) if name in states else None,
        )
        self._call(start.step, "state", lambda _, callback: _checked_state(callback))
        self.raise_failure()

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Calls `Callback.on_row`; an error is kept for `raise_failure`."""
        self._call(step, "on_row", lambda _, callback: callback.on_row(step, dict(values), dict(clock)))

    def on_evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        """Calls `Callback.on_evaluation`; an error is kept for `raise_failure`."""
        self._call(step, "on_evaluation", lambda _, callback: callback.on_evaluation(step, dict(values)))

    @property
    def want_checkpoints(self) -> bool:
        """True if a callback has a method `Callback.on_checkpoint`."""
        return any(
            type(callback).on_checkpoint is not Callback.on_checkpoint
            for callback in self._callbacks.values()
        )

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Calls `Callback.on_checkpoint`; an error is kept for `raise_failure`."""
        self._call(step, "on_checkpoint", lambda _, callback: callback.on_checkpoint(step, folder))

    @property
    def end_the_run(self) -> bool:
        """True if a callback stopped the run or failed: the state must be saved, and no other step begins."""
        return self.stopped is not None or self._failure is not None

    def raise_failure(self) -> None:
        """Raises the first CallbackError of the calls so far, if any."""
        if self._failure is not None:
            raise self._failure

    def to_save(self, step: int) -> dict[str, Any]:
        """What a checkpoint of this step must hold: the callbacks' states, and why the run stopped; may be empty.

        Raises:
            CallbackError: a callback's state is nothing that JSON knows.
        """
        states: dict[str, Any] = {}
        for name, callback in self._callbacks.items() if jax.process_index() == 0 else ():
            try:
                state = _checked_state(callback)
            except Exception as error:
                raise _failure(name, "state", step, error) from error
            states |= {name: state} if state else {}
        stopped = {"stopped": self.stopped} if self.stopped is not None else {}
        return stopped | ({"states": states} if states else {})

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if not self._started:
            return
        self._failure = None
        with self._watchdog.paused():
            self._call_each(self._step, "on_end", lambda _, callback: callback.on_end(error))
        if error is None:
            self.raise_failure()
        elif self._failure is not None:
            say(str(self._failure))

    def _call(self, step: int, method: str, call: Callable[[str, Callback], Any]) -> None:
        """Calls a method of all callbacks; afterwards all processes know what the first one's decided."""
        self._step = step
        if not self._callbacks:
            return
        with self._watchdog.paused(), jax.transfer_guard("allow"):
            self._call_each(step, method, call)
            if jax.process_count() > 1:
                own = json.dumps([self.stopped, self._failure and str(self._failure)])
                self.stopped, failure = json.loads(gather_texts(own)[0])
                self._failure = self._failure or (CallbackError(failure) if failure else None)

    def _call_each(self, step: int, method: str, call: Callable[[str, Callback], Any]) -> None:
        """Each callback is called, even if one before it failed or stopped the run: its state is of this step."""
        for name, callback in self._callbacks.items() if jax.process_index() == 0 else ():
            try:
                call(name, callback)
            except Exception as error:
                if isinstance(error, Stop) and method in ("on_row", "on_evaluation"):
                    self.stopped = self.stopped or str(error)
                elif self._failure is None:
                    self._failure = _failure(name, method, step, error)
                    self._failure.__cause__ = error
                else:
                    say(str(_failure(name, method, step, error)))


def _checked_state(callback: Callback) -> dict[str, Any]:
    """The callback's state; TypeError or ValueError if it is nothing that JSON knows."""
    state = callback.state()
    json.dumps(state)
    if not isinstance(state, dict):
        raise TypeError(f"state: got {state!r}, expected a dict")
    return state


def _failure(name: str, method: str, step: int, error: Exception) -> CallbackError:
    return CallbackError(
        f"callbacks: got {type(error).__name__} from {name}.{method} at step {step}: {error}; the run goes on from "
        "its newest checkpoint when it is started again"
    )
