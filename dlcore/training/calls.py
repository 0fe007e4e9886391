"""Calls of the devices: how a run's steps are cut into calls, what a call needs, and how to wait for one.

A call runs one or more steps in one program. The devices work on a call while the loop starts the next one.
"""

import collections
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from dlcore.data.pipeline import prefetch
from dlcore.training.config import Config
from dlcore.training.engine import Engine
from dlcore.training.experiment import Batch
from dlcore.training.faults.nonfinite import diagnose
from dlcore.training.state import NONE_BAD, TrainState
from dlcore.training.telemetry import speed

IN_FLIGHT = 2  # calls that the devices may have left to finish while the loop continues


class Due(NamedTuple):
    """What the loop does after a step; each attribute is True if the loop does this.

    Attributes:
        log: write a row of training metrics.
        evaluation: evaluate the state.
        checkpoint: save a checkpoint.
        monitor: measure with the experiment's monitor, if there is one.
    """

    log: bool
    evaluation: bool
    checkpoint: bool
    monitor: bool


def intervals(config: Config) -> tuple[int, int, int, int]:
    """Four integers: the steps between two rows, two evaluations, two checkpoints and two measurements of the monitor.

    The config's durations must be numbers of steps. The last integer is ``train.steps`` if the config asks for no
    monitor.
    """
    train = config.train
    monitor_every = train.monitor_every or train.steps
    return int(train.log_every), int(train.eval_every), int(config.checkpoint.every), int(monitor_every)


def due_after(step: int, config: Config) -> Due:
    """A `Due`: what the loop does after ``step`` updates. After the last update everything is True."""
    return Due(*(step % every == 0 or step == config.train.steps for every in intervals(config)))


def split_into_calls(start: int, config: Config) -> Iterator[range]:
    """Yields one range of steps for each call, from step ``start`` to the end of the run.

    A call has at most ``steps_per_call`` steps, and it ends where something is due (see `Due`). So a run that
    continues from the end of a call makes the same calls as a run that never stopped.

    >>> config = Config()
    >>> config.train.steps, config.train.steps_per_call, config.train.log_every = 120, 40, 50
    >>> [len(steps) for steps in split_into_calls(0, config)]
    [40, 10, 40, 10, 20]
    """
    last, most = int(config.train.steps), config.train.steps_per_call
    while start < last:
        next_due = [(start // every + 1) * every for every in intervals(config)]
        stop = min(start + most, last, *next_due)
        yield range(start, stop)
        start = stop


class CallInputs(NamedTuple):
    """What a call needs.

    Attributes:
        steps: the range of the run's steps that the call makes; the run's first step is 0.
        batch: their batches on the devices, see `Engine.batch`.
        counts: the number of examples and the number of frames in these batches, see `speed.count_examples`. In a job
            of several processes, the number of frames is estimated from the rows of this process.
    """

    steps: range
    batch: Batch
    counts: tuple[int, int]


def prefetch_calls(engine: Engine, start: int) -> Generator[CallInputs]:
    """Yields the `CallInputs` of every call from step ``start`` on; other threads make them ahead of time."""
    config = engine.config.train

    def make_inputs(steps: range) -> CallInputs:
        host_batches = [engine.host_batch(step) for step in steps]
        counts = [speed.count_examples(batch) for batch in host_batches]
        examples, frames = (
            engine.host_batches_per_step * sum(column) for column in zip(*counts, strict=True)
        )
        return CallInputs(steps, engine.place_batches(host_batches), (examples, frames))

    return prefetch(
        make_inputs, split_into_calls(start, engine.config), config.prefetch, config.prefetch_workers
    )


class PendingCalls:
    """The pending calls: those that have begun and that nobody has waited for yet.

    To wait for a call shows whether the run stops at one of its steps, because it was not finite.

    Args:
        engine: the run's engine.
        folder: the run's folder; the batch and the state of a bad step are written there.
    """

    def __init__(self, engine: Engine, folder: Path):
        self._engine, self._folder = engine, folder
        self._most = 0 if engine.config.train.on_nan == "raise" else IN_FLIGHT
        self._bad_steps: collections.deque[jax.Array] = collections.deque()

    def add(self, bad_step: jax.Array, state: TrainState) -> None:
        """Adds a call that has begun. Then waits until at most 2 are pending, or none if ``on_nan`` is ``raise``.

        Args:
            bad_step: the integer scalar that the call returned, see `engine.Program`.
            state: the state after the call.

        Raises:
            NonFiniteError: a step of a call that was waited for was not finite, and ``on_nan`` is ``stop`` or
                ``raise``.
        """
        self._bad_steps.append(bad_step)
        self.wait(state, self._most)

    def wait(self, state: TrainState, most: int = 0) -> None:
        """Waits for the oldest calls until at most ``most`` calls are pending.

        Args:
            state: the state after the newest call.
            most: how many calls may stay pending.

        Raises:
            NonFiniteError: a step of a call that was waited for was not finite, and ``on_nan`` is ``stop`` or
                ``raise``.
        """
        while len(self._bad_steps) > most:
            if jax.device_get(self._bad_steps.popleft()) != NONE_BAD:
                raise diagnose(self._engine, state, self._folder)
