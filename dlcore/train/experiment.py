"""The contract between an experiment and everything that trains, restores and measures it."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import chex
import flax
import jax
from flax import linen as nn

from dlcore.config import durations
from dlcore.data.pipeline import ByStep
from dlcore.train.config import Config
from dlcore.train.mesh import ShardingRules
from dlcore.train.metrics import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


C = TypeVar("C", bound="Config")

Params: TypeAlias = chex.ArrayTree
ModelState: TypeAlias = chex.ArrayTree
Batch: TypeAlias = Mapping[str, Any]
Metrics: TypeAlias = dict[str, Metric]
Mode: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""What ``--mode=NAME`` calls with the `Run`; the last line of stdout is what it returns."""


class LossFunction(Protocol):
    """``loss(params, model_state, batch, rng, train) -> loss, (model_state, metrics)``, pure."""

    def __call__(
        self, params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]: ...


@dataclass(frozen=True)
class Experiment:
    """A model as pure functions, its data, and what to make of it.

    Attributes:
        init: ``init(rng, batch) -> params, model_state``; called under ``jax.jit``.
        loss: see `LossFunction`; with ``train`` False it is the evaluation.
        train_data: ``train_data[step] -> batch``, a dict of arrays.
        eval_data: batches of a finite set, walked once an evaluation, with a ``mask`` over padded rows.
        best: the evaluation metric that decides which checkpoint is the best.
        lower_is_better: whether the best is the smallest, as for a loss.
        figures: ``figures(params, model_state) -> {name: matplotlib figure}``, drawn at the end of a run.
        monitor: ``monitor(params, model_state) -> {name: number}``, further numbers for the log, every
            ``--config.train.monitor_every`` steps; None: the gradient's norms by lag, see `gradflow.monitor`.
        modes: further modes of the command line by name.
        sharding_rules: how ``--config.mesh.parameters=by_rules`` splits parameters, see `mesh.parameter_specs`; for
            instance ``{"recurrent_kernel|input_kernel": (None, "model"), ".*": ()}``.
    """

    init: Callable[[jax.Array, Batch], tuple[Params, ModelState]]
    loss: LossFunction
    train_data: ByStep[Batch]
    eval_data: Iterable[Batch]
    best: str = "accuracy"
    lower_is_better: bool = False
    figures: Callable[[Params, ModelState], Mapping[str, "Figure"]] | None = None
    monitor: Callable[[Params, ModelState], Mapping[str, float]] | None = None
    modes: Mapping[str, Mode] = field(default_factory=dict)
    sharding_rules: ShardingRules = field(default_factory=dict)

    @classmethod
    def from_flax(
        cls,
        model: nn.Module,
        *,
        loss: Callable[[Any, Batch], tuple[jax.Array, Metrics]],
        **fields: Any,
    ) -> "Experiment":
        """The experiment of a linen module that is called as ``model(inputs, train=...)``.

        The module gets the batch's ``inputs``, its ``lengths`` where there are some, and its ``resets`` (see
        `layers.stateful`) by keyword where there are some. Its collections
        beside ``params`` (BatchNorm's statistics) are the model state; dropout draws from the rng stream
        ``dropout``.

        Args:
            model: the module.
            loss: ``loss(outputs, batch) -> loss, metrics``, for instance `losses.classification`.
            **fields: the further attributes of `Experiment`.
        """

        def init(rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
            variables = model.init({"params": rng}, *_arguments(batch), **_options(batch), train=False)
            model_state, params = flax.core.pop(variables, "params")
            return params, dict(model_state)

        def apply_loss(
            params: Params, model_state: Any, batch: Batch, rng: jax.Array, train: bool
        ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
            outputs, new_state = model.apply(
                {"params": params, **model_state},
                *_arguments(batch),
                **_options(batch),
                train=train,
                rngs={"dropout": rng},
                mutable=list(model_state) if train else [],
            )
            value, metrics = loss(outputs, batch)
            return value, (new_state if train else model_state, metrics)

        return cls(init=init, loss=apply_loss, **fields)


def config_in_steps(config: C, experiment: Experiment) -> C:
    """The config with every duration as a number of steps; ValueError where the data does not say what it takes."""
    data = experiment.train_data
    return durations.resolve_durations(
        config,
        batch_size=getattr(data, "batch_size", config.train.batch_size),
        examples=getattr(data, "examples", None),
    )


def check_model(experiment: Experiment) -> None:
    """Traces the model on a training and an evaluation batch, computing nothing.

    Raises:
        ValueError: the metric ``best`` is none of the evaluation's, or there is no evaluation batch.
        TypeError: the loss returns something else than the contract says, or ``eval_data`` can be walked
            only once.
        Whatever the model raises where its settings do not fit the data.
    """
    if iter(experiment.eval_data) is experiment.eval_data:
        raise TypeError(
            "eval_data: got an iterator, which can be walked once, expected a list or PaddedBatches"
        )
    eval_batch = next(iter(experiment.eval_data), None)
    if eval_batch is None:
        raise ValueError("eval_data: got no batch, expected at least one")
    train_batch, rng = experiment.train_data[0], jax.eval_shape(lambda: jax.random.key(0))
    params, model_state = jax.eval_shape(experiment.init, rng, train_batch)
    for batch, train in ((train_batch, True), (eval_batch, False)):
        loss = functools.partial(experiment.loss, train=train)
        metrics = _metrics(jax.eval_shape(loss, params, model_state, batch, rng))
    if experiment.best not in metrics:
        raise ValueError(
            f"best: got {experiment.best!r}, expected one of the metrics: {', '.join(sorted(metrics)) or '(none)'}"
        )


def _metrics(returned: Any) -> Metrics:
    """The metrics of what a loss function returned; TypeError where it is not what the contract says."""
    try:
        _, (_, metrics) = returned
        if all(hasattr(metric, "value") for metric in metrics.values()):
            return metrics
    except (TypeError, ValueError, AttributeError):
        pass
    raise TypeError(
        f"loss: got {returned} returned, expected loss, (model_state, metrics) with each metric a sum that has a "
        "value(), for instance dl.metrics.Average.of(values)"
    )


def _arguments(batch: Batch) -> tuple[Any, ...]:
    return (batch["inputs"], batch["lengths"]) if "lengths" in batch else (batch["inputs"],)


def _options(batch: Batch) -> dict[str, Any]:
    return {"resets": batch["resets"]} if "resets" in batch else {}
