"""An experiment's compiled programs on a mesh of devices: the initial state, calls of steps, the evaluation.

The engine also places data: every array that a program gets or returns has the sharding that the mesh asks for.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from dlcore.data.batch import pad_rows, row_count, shapes_of, slice_rows
from dlcore.data.pipeline import batch_of, rows_of
from dlcore.training.callbacks.callback import Callback
from dlcore.training.callbacks.run_callbacks import all_callbacks
from dlcore.training.config import Config
from dlcore.training.experiment import Batch, Experiment, Metrics
from dlcore.training.mesh import (
    DATA,
    batch_sharding,
    make_mesh,
    parameter_specs,
    place_batch,
    process_rows,
    state_shardings,
)
from dlcore.training.optimizers.make import choose_optimizer
from dlcore.training.program import Program, compile_program
from dlcore.training.run_config import batch_size, resolve_config, with_optimizer_name
from dlcore.training.state import TrainState, make_state
from dlcore.training.step import make_eval_step, make_train_step
from dlcore.training.stream_evaluation import StreamEvaluator, has_streams
from dlcore.training.targets.target import Target
from dlcore.training.whole_parameters import computed_on


class Engine:
    """Compiles an experiment's functions for the mesh and places its data there.

    Args:
        experiment: an experiment that `contract.check_model` accepts.
        config: its config.
        target: the machine on which the programs run; None: this one. If it is only described, they can be compiled,
            but nothing can be placed or called.

    Attributes:
        experiment: the experiment.
        config: the config, in which every duration is a number of steps.
        mesh: the ``jax.sharding.Mesh`` of the devices.
        optimizer: the optax chain: clipping, then the rule of the config or the experiment's own optimizer.
        while_compiling: makes a context manager for each compilation from a text that says what is compiled; the loop
            sets it, to say so and to stop its clocks.

    Raises:
        ValueError: the data does not tell what a duration needs; or settings, mesh, batch size and micro-batches do
            not fit each other.
    """

    def __init__(self, experiment: Experiment, config: Config, target: Target | None = None):
        config = resolve_config(with_optimizer_name(config, experiment), experiment)
        if config.init_map and config.init_from is None:
            raise ValueError(
                f"init_map: got {config.init_map} without init_from, expected the run whose parameters it renames too"
            )
        self.experiment, self.config = experiment, config
        self.mesh = make_mesh(config.mesh, target)
        self.optimizer, self._read_rates = choose_optimizer(experiment.optimizer, config)
        self._computed = computed_on(self.mesh, config.mesh, experiment)
        self._step = make_train_step(self._computed, self.optimizer, config.seed, config.train)
        self._batch_size = batch_size(experiment)
        self._rows = process_rows(self.mesh, self._batch_size)
        self._check_micro_batches()
        self._programs: dict[Any, Program] = {}
        self._compiled: set[Hashable] = set()
        self.while_compiling: Callable[[str], AbstractContextManager[Any]] = nullcontext

    def _check_micro_batches(self) -> None:
        parts, shards = self.config.train.micro_batches, self.mesh.shape[DATA]
        if self._batch_size % (parts * shards):
            raise ValueError(
                f"micro_batches: got {parts} for batches of {self._batch_size} on {shards} shards of the data axis, "
                f"expected {parts} x {shards} to divide them"
            )

    @cached_property
    def callbacks(self) -> tuple[Callback, ...]:
        """The callbacks of the experiment, and then those that settings ask for; only a training needs them.

        Raises:
            ImportError: a logger's package is not installed.
        """
        return all_callbacks(self.experiment, self.config)

    @property
    def _replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def _make_initial_state(self, batch: Batch) -> TrainState:
        averaged = self.config.train.ema_decay is not None
        state = make_state(self.experiment, self.optimizer, self.config.seed, batch, averaged=averaged)
        after = jax.eval_shape(self._step, state, batch)
        return state.replace(  # type: ignore[attr-defined]
            metrics=optax.tree.zeros_like(after.metrics), remainders=optax.tree.zeros_like(after.remainders)
        )

    @cached_property
    def abstract_state(self) -> TrainState:
        """A `TrainState` of ``jax.ShapeDtypeStruct``: shapes, types and shardings, to which a checkpoint is restored.

        Raises:
            ValueError: the sharding rules do not fit the parameters or the mesh; or as in `check_optimizer`.
            TypeError: as in `check_optimizer`.
        """
        shapes = jax.eval_shape(self._make_initial_state, self.experiment.train_data[0])
        rules = self.experiment.sharding_rules
        specs = parameter_specs(shapes.params, self.mesh, self.config.mesh, rules)
        shardings = state_shardings(shapes, self.mesh, specs)
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings,
        )

    @cached_property
    def _shardings(self) -> TrainState:
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)

    @cached_property
    def learning_rates(self) -> Callable[[optax.OptState], dict[str, jax.Array]]:
        """A function from an optimizer state to the learning rates of its last update, see `optimizers.rates`."""
        return jax.jit(self._read_rates, out_shardings=self._replicated)

    def initial_state(self) -> TrainState:
        """The `TrainState` at step 0; one compiled program makes it directly on its devices."""
        with self.while_compiling("compiling the initial state"):
            return jax.jit(self._make_initial_state, out_shardings=self._shardings)(self.batch(range(1)))

    @property
    def host_batches_per_step(self) -> int:
        """How many batches as large as that of `host_batch` make the whole batch of a step."""
        return self._batch_size // (self._rows[1] - self._rows[0])

    def host_batch(self, step: int) -> Batch:
        """The rows of one step's batch that this process has to load: arrays ``[rows, ...]`` by name, on the host."""
        data = self.experiment.train_data
        whole = self._rows == (0, self._batch_size)
        return batch_of(data, step) if whole else rows_of(data, step, *self._rows)

    def batch(self, steps: range) -> Batch:
        """The batches of some steps on the devices.

        Args:
            steps: one step or several.

        Returns:
            A dict of arrays by name: ``[B, ...]`` for one step, ``[len(steps), B, ...]`` for several.

        Raises:
            ValueError: the batches of several steps differ in shape.
        """
        return self.place_batches([self.host_batch(step) for step in steps])

    def place_batches(self, host_batches: Sequence[Batch]) -> Batch:
        """The same as `batch`, from host batches that are loaded already.

        Args:
            host_batches: the `host_batch` of each step.

        Raises:
            ValueError: the batches of several steps differ in shape.
        """
        if len(host_batches) == 1:
            return place_batch(host_batches[0], self.mesh)
        try:
            stacked = jax.tree.map(lambda *fields: np.stack(fields), *map(dict, host_batches))
        except ValueError as error:
            raise ValueError(
                f"steps_per_call: got {len(host_batches)} steps whose batches differ in shape ({error}), expected 1 "
                "if batches have several lengths"
            ) from None
        return place_batch(stacked, self.mesh, stacked=True)

    def program(self, batch: Batch, step_count: int) -> Program:
        """The `Program` of ``step_count`` steps for batches with the shapes and types of ``batch``.

        It is compiled at the first request. ``program.call(state, batch)`` returns the new state, which takes the old
        state's buffers, and a copy of its ``bad_step``, to wait for.

        Args:
            batch: the batch of the steps on the devices, see `batch`, or its shapes.
            step_count: the number of steps.
        """
        key = step_count, shapes_of(batch)
        if key not in self._programs:
            with self.while_compiling("compiling the training"):
                self._programs[key] = self._compile(batch, step_count)
        return self._programs[key]

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling the training calls (`program`) took so far; the evaluation does not count."""
        return sum(program.compile_seconds for program in self._programs.values())

    def _compile(self, batch: Batch, step_count: int) -> Program:
        def call(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
            if step_count == 1:
                state = self._step(state, batch)
            else:
                state, _ = jax.lax.scan(lambda state, batch: (self._step(state, batch), None), state, batch)
            return state, state.bad_step

        jitted = jax.jit(
            call,
            in_shardings=(self._shardings, batch_sharding(self.mesh, stacked=step_count > 1)),
            out_shardings=(self._shardings, self._replicated),
            donate_argnums=0,
        )
        return compile_program(jitted, self.abstract_state, batch)

    @cached_property
    def eval_step(self) -> Callable[[Any, Any, Batch], Metrics]:
        """The evaluation of one batch as a compiled function, see `make_eval_step`."""
        return jax.jit(
            make_eval_step(self._computed, self.config.train),
            in_shardings=(
                self._shardings.params,
                self._shardings.model_state,
                batch_sharding(self.mesh),
            ),
            out_shardings=self._replicated,
        )

    def eval_metrics(self, state: TrainState, eval_set: str = "") -> Iterator[Metrics]:
        """Yields the metrics of each batch of an evaluation set: sums by name, which the devices compute meanwhile."""
        params, model_state, streams = state.evaluated_params, state.model_state, None
        for batch in self.experiment.eval_sets[eval_set]:
            placed = self._place_eval_batch(batch)
            with self._first_call(shapes_of(placed), "compiling the evaluation"):
                if has_streams(model_state, placed):
                    metrics, streams = self._evaluate_streams(params, model_state, streams, placed)
                else:
                    metrics = self.eval_step(params, model_state, placed)
            yield metrics

    @cached_property
    def _evaluate_streams(self) -> StreamEvaluator:
        model = self._shardings.params, self._shardings.model_state
        return StreamEvaluator(self._computed, self.config.train, self.mesh, model)

    def eval_program(self, batch: Batch) -> Program:
        """The `Program` of the evaluation of one batch, which `eval_metrics` runs; it is compiled at every request.

        Args:
            batch: an evaluation batch on the devices, or its shapes.
        """
        state = self.abstract_state
        with self.while_compiling("compiling the evaluation"):
            if has_streams(state.model_state, batch):
                step, streams = self._evaluate_streams.ahead(batch)
                return compile_program(step, state.evaluated_params, state.model_state, streams, batch)
            return compile_program(self.eval_step, state.evaluated_params, state.model_state, batch)

    @contextlib.contextmanager
    def _first_call(self, key: Hashable, what: str) -> Iterator[None]:
        """A context manager for calls of a program that is compiled in the first call with each key."""
        with nullcontext() if key in self._compiled else self.while_compiling(what):
            yield
        self._compiled.add(key)

    def _place_eval_batch(self, batch: Batch) -> Batch:
        """The evaluation batch on its devices, padded to a multiple of the data axis."""
        padded = pad_rows("eval_data", batch, self.mesh.shape[DATA])
        start, stop = process_rows(self.mesh, row_count(padded, "eval_data"))
        return place_batch(slice_rows(dict(padded), start, stop), self.mesh)

    def with_zero_metrics(self, state: TrainState) -> TrainState:
        """A copy of the state in which all sums of metrics are 0."""
        metrics, remainders = self._zeros_like((state.metrics, state.remainders))
        return state.replace(metrics=metrics, remainders=remainders)  # type: ignore[attr-defined]

    @cached_property
    def _zeros_like(self) -> Callable[[Any], Any]:
        return jax.jit(optax.tree.zeros_like, out_shardings=self._replicated)

    def replicate(self, tree: Any) -> Any:
        """A copy of a tree of arrays that every device holds whole, for instance to draw it.

        All processes of a job must call it.
        """
        return jax.jit(lambda tree: tree, out_shardings=self._replicated)(tree)
