"""An experiment's programs on a mesh of devices: its first state, a call of some steps, the evaluation of a batch."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from dlcore.data.pipeline import rows_of
from dlcore.train.config import Config
from dlcore.train.experiment import Batch, Experiment, Metrics, config_in_steps
from dlcore.train.mesh import (
    DATA,
    batch_sharding,
    make_mesh,
    parameter_specs,
    place_batch,
    process_rows,
    state_shardings,
)
from dlcore.train.optimizer import make_optimizer
from dlcore.train.state import TrainState, make_state
from dlcore.train.step import make_eval_step, make_train_step
from dlcore.train.telemetry.flops import count_flops


class Program(NamedTuple):
    """A compiled call of steps.

    Attributes:
        call: the new state, in the old one's buffers, and a copy of its ``bad_step``, to wait for.
        compile_seconds: how long compiling took.
        flops: what a call computes, see `flops.count_flops`.
    """

    call: Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]
    compile_seconds: float
    flops: float


class Engine:
    """What an experiment needs to be trained: pure functions compiled for the mesh, data placed on it.

    Args:
        experiment: one that `experiment.check_model` let pass.
        config: its config.

    Attributes:
        config: the config with every duration as steps.

    Raises:
        ValueError: a duration that the data cannot tell in steps; settings, mesh, sharding rules, batch size or
            micro-batches that do not fit each other.
    """

    def __init__(self, experiment: Experiment, config: Config):
        config = config_in_steps(config, experiment)
        self.experiment, self.config = experiment, config
        self.mesh = make_mesh(config.mesh)
        self.optimizer = make_optimizer(config.optimizer, int(config.train.steps))
        self._step = make_train_step(experiment, self.optimizer, config.seed, config.train)
        self._batch_size = _batch_size(experiment)
        self._rows = process_rows(self.mesh, self._batch_size)
        self._check_micro_batches()
        self._programs: dict[Any, Program] = {}

    def _check_micro_batches(self) -> None:
        parts, shares = self.config.train.micro_batches, self.mesh.shape[DATA]
        if self._batch_size % (parts * shares):
            raise ValueError(
                f"micro_batches: got {parts} for batches of {self._batch_size} on {shares} shares of the data axis, "
                f"expected {parts} x {shares} to divide them"
            )

    @property
    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def _first_state(self, batch: Batch) -> TrainState:
        averaged = self.config.train.ema_decay is not None
        state = make_state(self.experiment, self.optimizer, self.config.seed, batch, averaged=averaged)
        metrics = jax.eval_shape(self._step, state, batch).metrics
        return state.replace(metrics=optax.tree.zeros_like(metrics))  # type: ignore[attr-defined]

    @cached_property
    def abstract_state(self) -> TrainState:
        """The state's shapes, types and shardings, without a value: what a checkpoint is restored as."""
        shapes = jax.eval_shape(self._first_state, self.experiment.train_data[0])
        rules = self.experiment.sharding_rules
        specs = parameter_specs(shapes.params, self.mesh, self.config.mesh, rules)
        shardings = state_shardings(shapes, self.mesh, specs, self.optimizer)
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings,
        )

    @cached_property
    def _shardings(self) -> TrainState:
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)

    def initial_state(self) -> TrainState:
        """The state at step 0, made where it belongs by one compiled program."""
        return jax.jit(self._first_state, out_shardings=self._shardings)(self.batch(range(1)))

    @property
    def shares(self) -> int:
        """How many such parts as this process loads make a whole batch."""
        return self._batch_size // (self._rows[1] - self._rows[0])

    def host_batch(self, step: int) -> Batch:
        """The rows of one step's batch that this process has to load."""
        data = self.experiment.train_data
        return data[step] if self._rows == (0, self._batch_size) else rows_of(data, step, *self._rows)

    def batch(self, steps: range) -> Batch:
        """The batch of one step on the devices, or the batches of several, stacked in front.

        Raises:
            ValueError: batches of several steps that differ in shape.
        """
        return self.placed([self.host_batch(step) for step in steps])

    def placed(self, batches: Sequence[Batch]) -> Batch:
        """`batch` of rows that are loaded already."""
        if len(batches) == 1:
            return place_batch(batches[0], self.mesh)
        try:
            stacked = jax.tree.map(lambda *fields: np.stack(fields), *map(dict, batches))
        except ValueError as error:
            raise ValueError(
                f"steps_per_call: got {len(batches)} steps whose batches differ in shape ({error}), expected 1 where "
                "batches have several lengths"
            ) from None
        return place_batch(stacked, self.mesh, stacked=True)

    def program(self, batch: Batch, count: int) -> Program:
        """The program of ``count`` steps on such a batch, compiled when it is first asked for."""
        key = count, *((name, field.shape, field.dtype) for name, field in batch.items())
        if key not in self._programs:
            self._programs[key] = self._compile(batch, count)
        return self._programs[key]

    @property
    def compile_seconds(self) -> float:
        """How long all programs took to compile."""
        return sum(program.compile_seconds for program in self._programs.values())

    def _compile(self, batch: Batch, count: int) -> Program:
        began = time.monotonic()

        def call(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
            if count == 1:
                state = self._step(state, batch)
            else:
                state, _ = jax.lax.scan(lambda state, batch: (self._step(state, batch), None), state, batch)
            return state, state.bad_step

        jitted = jax.jit(
            call,
            in_shardings=(self._shardings, batch_sharding(self.mesh, stacked=count > 1)),
            out_shardings=(self._shardings, self._everywhere),
            donate_argnums=0,
        )
        traced = jitted.trace(self.abstract_state, batch)
        compiled, flops = traced.lower().compile(), count_flops(traced)
        return Program(compiled, time.monotonic() - began, flops)

    @cached_property
    def _eval_step(self) -> Callable[[Any, Any, Batch], Metrics]:
        return jax.jit(
            make_eval_step(self.experiment, self.config.train),
            in_shardings=(
                self._shardings.params,
                self._shardings.model_state,
                batch_sharding(self.mesh),
            ),
            out_shardings=self._everywhere,
        )

    def eval_metrics(self, state: TrainState) -> Iterator[Metrics]:
        """The sums of each evaluation batch, started on the devices and not waited for."""
        for batch in self.experiment.eval_data:
            yield self._eval_step(state.evaluated_params, state.model_state, self._eval_batch(batch))

    def _eval_batch(self, batch: Batch) -> Batch:
        """A batch that the mesh can share, of which this process keeps its rows."""
        filled = _filled(batch, self.mesh.shape[DATA])
        start, stop = process_rows(self.mesh, _row_count(filled))
        return place_batch({name: field[start:stop] for name, field in filled.items()}, self.mesh)

    def with_zero_metrics(self, state: TrainState) -> TrainState:
        """The same state with all sums of its metrics at 0."""
        return state.replace(metrics=self._zeros_like(state.metrics))  # type: ignore[attr-defined]

    @cached_property
    def _zeros_like(self) -> Callable[[Metrics], Metrics]:
        return jax.jit(optax.tree.zeros_like, out_shardings=self._everywhere)

    def everywhere(self, tree: Any) -> Any:
        """A copy of which every process holds the whole, for instance to draw it."""
        return jax.jit(lambda tree: tree, out_shardings=self._everywhere)(tree)


def split_into_calls(start: int, config: Config) -> Iterator[range]:
    """The steps from ``start`` to the run's end, cut into calls.

    A call has at most ``steps_per_call`` steps and ends where something is due: a row of the log, an evaluation, a
    checkpoint, what is monitored. So a run that goes on from the end of a call makes the same calls as one that never
    stopped.

    >>> config = Config()
    >>> config.train.steps, config.train.steps_per_call, config.train.log_every = 120, 40, 50
    >>> [len(steps) for steps in call_steps(0, config)]
    [40, 10, 40, 10, 20]
    """
    steps, most = int(config.train.steps), config.train.steps_per_call
    while start < steps:
        due = [(start // every + 1) * every for every in intervals(config)]
        stop = min(start + most, steps, *due)
        yield range(start, stop)
        start = stop


def intervals(config: Config) -> tuple[int, int, int, int]:
    """How many steps lie between rows of the log, evaluations, checkpoints, and measurements of the monitor."""
    train = config.train
    monitor_every = train.monitor_every or train.steps
    return int(train.log_every), int(train.eval_every), int(config.checkpoint.every), int(monitor_every)


def _batch_size(experiment: Experiment) -> int:
    declared = getattr(experiment.train_data, "batch_size", None)
    return _row_count(experiment.train_data[0]) if declared is None else declared


def _row_count(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _filled(batch: Batch, shares: int) -> Mapping[str, np.ndarray]:
    """A batch with so many copies of its first row behind it, masked, that ``shares`` divides its rows."""
    count = _row_count(batch)
    missing = -count % shares
    if not missing:
        return batch
    rows = np.concatenate([np.arange(count), np.zeros(missing, int)])
    filled = {name: np.asarray(field)[rows] for name, field in batch.items()}
    mask = np.asarray(batch.get("mask", np.ones(count, bool)))
    return {**filled, "mask": np.concatenate([mask, np.zeros(missing, bool)])}
