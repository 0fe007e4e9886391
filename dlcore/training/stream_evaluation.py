"""Evaluation of streams: each row of an evaluation batch goes on where the same row of the previous batch ended.

The state of the rows is the collection ``carry`` of the model state. The evaluation has its own, which begins as
``init`` makes it for the rows of the first batch; that of the training stays as it is.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dlcore.data.batch import STREAMS, with_rows
from dlcore.training.config import TrainConfig
from dlcore.training.experiment import Batch, Experiment, Metrics, ModelState, Params
from dlcore.training.mesh import DATA, batch_sharding
from dlcore.training.precision import with_precision


def has_streams(model_state: ModelState, batch: Batch) -> bool:
    """True if the batch has the field ``resets`` and the model keeps the state of streams."""
    return "resets" in batch and isinstance(model_state, Mapping) and STREAMS in model_state


def initial_streams(experiment: Experiment, batch: Batch) -> Any:
    """The state of each row of the batch before its first step: the collection ``carry`` as ``init`` makes it."""
    return experiment.init(jax.random.key(0), batch)[1][STREAMS]


def make_stream_step(
    experiment: Experiment, config: TrainConfig
) -> Callable[[Params, ModelState, Any, Batch], tuple[Metrics, Any]]:
    """The evaluation of one batch of streams as a pure function.

    ``stream_step(params, model_state, streams, batch) -> metrics, streams``.

    Args:
        experiment: its `Experiment.evaluate_batch` is called with a batch that has the field ``carry``.
        config: its ``precision`` is used.
    """
    loss = with_precision(experiment.evaluate_batch, config.precision)

    def stream_step(
        params: Params, model_state: ModelState, streams: Any, batch: Batch
    ) -> tuple[Metrics, Any]:
        batch = {**batch, STREAMS: streams}
        # Evaluation draws no random numbers; the loss function only needs some key as its argument.
        _, (new_state, metrics) = loss(params, model_state, batch, jax.random.key(0), False)
        return metrics, new_state[STREAMS]

    return stream_step


class StreamEvaluator:
    """Evaluates one batch of streams after the other with compiled programs.

    ``evaluator(params, model_state, streams, batch) -> metrics, streams`` takes the streams that the previous batch
    returned, and None for the first one. The state of a row stays on the devices of the row.

    Args:
        experiment: the experiment.
        config: its ``precision`` is used.
        mesh: the mesh.
        model: the shardings of the parameters and of the model state.
    """

    def __init__(self, experiment: Experiment, config: TrainConfig, mesh: Mesh, model: tuple[Any, Any]):
        self._experiment, self._config, self._mesh, self._model = experiment, config, mesh, model
        self._programs: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def __call__(
        self, params: Params, model_state: ModelState, streams: Any, batch: Batch
    ) -> tuple[Metrics, Any]:
        begin, step = self._jitted(batch)
        return step(params, model_state, begin(batch) if streams is None else streams, batch)

    def ahead(self, batch: Batch) -> tuple[Callable[..., Any], Any]:
        """The jitted evaluation of one batch, and the shapes of its streams: both are needed to compile it ahead.

        Args:
            batch: the first batch, or its shapes.
        """
        begin, step = self._jitted(batch)
        return step, jax.eval_shape(begin, batch)

    def _jitted(self, batch: Batch) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if self._programs is None:
            self._programs = self._jit(batch)
        return self._programs

    def _jit(self, batch: Batch) -> tuple[Callable[..., Any], Callable[..., Any]]:
        rows = stream_shardings(self._experiment, self._mesh, batch)
        replicated = NamedSharding(self._mesh, PartitionSpec())
        begin = functools.partial(initial_streams, self._experiment)
        return (
            jax.jit(begin, in_shardings=batch_sharding(self._mesh), out_shardings=rows),
            jax.jit(
                make_stream_step(self._experiment, self._config),
                in_shardings=(*self._model, rows, batch_sharding(self._mesh)),
                out_shardings=(replicated, rows),
            ),
        )


def stream_shardings(experiment: Experiment, mesh: Mesh, batch: Batch) -> Any:
    """A tree like the streams with one NamedSharding for each array, which splits its axis of rows.

    That axis is the one that is twice as long for a batch of twice as many rows. An array without it is not split.
    """
    once, twice = (
        jax.eval_shape(functools.partial(initial_streams, experiment), with_rows(batch, times))
        for times in (1, 2)
    )

    def split(one: Any, two: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(one.shape) if two.shape[axis] != size]
        return NamedSharding(mesh, PartitionSpec(*[None] * axes[0], DATA) if axes else PartitionSpec())

    return jax.tree.map(split, once, twice)
