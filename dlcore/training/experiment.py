"""The contract between an experiment and everything that trains, restores and measures it.

An experiment is a model as two pure functions, together with its data. Training sees only these functions, so a model
may be written in Flax, in plain JAX or in any other library.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import chex
import flax
import jax
from flax import linen as nn

from dlcore.config import durations
from dlcore.data.batch import STREAMS, get_field, row_count
from dlcore.data.pipeline import ByStep, batch_of
from dlcore.training.config import Config
from dlcore.training.mesh import ShardingRules, check_rules
from dlcore.training.metrics import Metric
from dlcore.utils.checks import check_bool, check_callable, check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


C = TypeVar("C", bound="Config")

Params: TypeAlias = chex.ArrayTree
ModelState: TypeAlias = chex.ArrayTree
Batch: TypeAlias = Mapping[str, Any]
"""The fields of a batch by name, as `data.batch` describes them, on the host or on the devices."""
Metrics: TypeAlias = dict[str, Metric]
Figures: TypeAlias = Callable[[Params, ModelState], Mapping[str, "Figure"]]
Monitor: TypeAlias = Callable[[Params, ModelState], Mapping[str, float]]
Mode: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""The function of ``--mode=NAME``: it gets the `Run`, and what it returns is the last line of stdout."""


class LossFunction(Protocol):
    """A pure function ``loss(params, model_state, batch, rng, train) -> loss, (model_state, metrics)``.

    ``rng`` is a key, for instance for dropout. ``train`` is True in training and False in evaluation. The returned
    loss is a scalar, ``model_state`` is the new one, and ``metrics`` is a dict of `metrics.Metric`.

    If the model state is a dict with ``carry``, the state of each row's stream, an evaluation of batches with
    ``resets`` gives each batch a field ``carry``. The loss begins from it in place of that of the model state, and
    returns the new one as ``model_state["carry"]``. Without this field an evaluation leaves the model state as it is.
    """

    def __call__(
        self, params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]: ...


@dataclass(frozen=True)
class Experiment:
    """A model as pure functions, its data, and what else the command line needs to know about it.

    Attributes:
        init: ``init(rng, batch) -> params, model_state``; called under ``jax.jit``.
        loss: see `LossFunction`; with ``train=False`` it computes the evaluation.
        train_data: ``train_data[step] -> batch``, a dict of arrays ``[B, ...]``.
        eval_data: batches of a finite set, iterated once in each evaluation; a ``mask`` is False for padded rows. If
            they have ``resets``, as those of `data.StreamEvaluation`, each row of a batch begins with the state of
            `Stateful` layers that the same row of the previous batch ended with.
        best: the evaluation metric that decides which checkpoint is the best.
        lower_is_better: True if the smallest value is the best, as for a loss.
        figures: ``figures(params, model_state) -> {name: matplotlib figure}``, drawn at the end of a run.
        monitor: ``monitor(params, model_state) -> {name: number}``, more numbers for the log, measured every
            ``--config.train.monitor_every`` steps. If it is None and the setting is given, the command line adds a
            monitor of the gradient's norms by lag, see `gradflow.models.monitor`.
        modes: more modes of the command line: functions by name, see `Mode`.
        sharding_rules: how ``--config.mesh.parameters=by_rules`` splits parameters, see `mesh.parameter_specs`; for
            instance ``{"recurrent_kernel|input_kernel": (None, "model"), ".*": ()}``.

    Raises:
        TypeError: a field after ``eval_data`` has another type. `contract.check_model` checks the model and its data.
        ValueError: a sharding rule is no regular expression.
    """

    init: Callable[[jax.Array, Batch], tuple[Params, ModelState]]
    loss: LossFunction
    train_data: ByStep[Batch]
    eval_data: Iterable[Batch]
    best: str = "accuracy"
    lower_is_better: bool = False
    figures: Figures | None = None
    monitor: Monitor | None = None
    modes: Mapping[str, Mode] = field(default_factory=dict)
    sharding_rules: ShardingRules = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_instance("best", self.best, str, "the name of an evaluation metric")
        check_bool("lower_is_better", self.lower_is_better)
        for name in ("figures", "monitor"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name), f"{name}(params, model_state)")
        check_instance("modes", self.modes, Mapping, "a dict of functions by name")
        for name, mode in self.modes.items():
            check_callable(f"modes[{name!r}]", mode, "predict(run)")
        check_rules(self.sharding_rules)

    @classmethod
    def from_flax(
        cls,
        model: nn.Module,
        *,
        loss: Callable[[Any, Batch], tuple[jax.Array, Metrics]],
        train_data: ByStep[Batch],
        eval_data: Iterable[Batch],
        best: str = "accuracy",
        lower_is_better: bool = False,
        figures: Figures | None = None,
        monitor: Monitor | None = None,
        modes: Mapping[str, Mode] | None = None,
        sharding_rules: ShardingRules | None = None,
    ) -> "Experiment":
        """An `Experiment` made from a linen module that is called as ``model(inputs, train=...)``.

        The module gets the batch's ``inputs``. It also gets ``lengths`` as the second argument if the batch has them,
        and ``resets`` (see `layers.recurrent.stateful`) by keyword if the batch has them. Its collections other than
        ``params`` (BatchNorm's statistics) are the model state. Dropout draws from the rng stream ``dropout``.

        Args:
            model: the module.
            loss: ``loss(outputs, batch) -> loss, metrics``, for instance `losses.classification`; the ``outputs`` are
                what the module returned.
            train_data: see `Experiment`.
            eval_data: see `Experiment`.
            best: see `Experiment`.
            lower_is_better: see `Experiment`.
            figures: see `Experiment`.
            monitor: see `Experiment`.
            modes: see `Experiment`; None: no modes of its own.
            sharding_rules: see `Experiment`; None: no rules.

        Raises:
            TypeError: the model is not a linen module; or as in `Experiment`.
            ValueError: as in `Experiment`.
        """

        if not isinstance(model, nn.Module):
            raise TypeError(f"model: got {model!r}, expected a linen module, such as Model()")

        def init(rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
            positional, named = _call_arguments(model, batch)
            variables = model.init({"params": rng}, *positional, **named, train=False)
            model_state, params = flax.core.pop(variables, "params")
            return params, dict(model_state)

        def apply_loss(
            params: Params, model_state: Any, batch: Batch, rng: jax.Array, train: bool
        ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
            positional, named = _call_arguments(model, batch)
            streams = {STREAMS: batch[STREAMS]} if STREAMS in batch else {}  # of an evaluation of streams
            outputs, new_state = model.apply(
                {"params": params, **model_state, **streams},
                *positional,
                **named,
                train=train,
                rngs={"dropout": rng},
                mutable=list(model_state if train else streams),
            )
            value, metrics = loss(outputs, batch)
            return value, ({**model_state, **new_state}, metrics)

        return cls(
            init=init,
            loss=apply_loss,
            train_data=train_data,
            eval_data=eval_data,
            best=best,
            lower_is_better=lower_is_better,
            figures=figures,
            monitor=monitor,
            modes={} if modes is None else modes,
            sharding_rules={} if sharding_rules is None else sharding_rules,
        )


def resolve_config(config: C, experiment: Experiment) -> C:
    """A copy of the config in which every duration is a number of steps of the experiment's training data.

    Raises:
        ValueError: the data does not tell its number of examples, and a duration needs it; or a setting has another
            type or is out of its bounds.
    """
    data = experiment.train_data
    return durations.resolve_durations(
        config,
        batch_size=batch_size(experiment),
        examples=getattr(data, "examples", None),
    )


def batch_size(experiment: Experiment) -> int:
    """The number of rows of a training batch: the data's ``batch_size``, or else what the first batch has.

    Raises:
        TypeError, ValueError: the first batch is not a dict of arrays with the same number of rows.
    """
    declared = getattr(experiment.train_data, "batch_size", None)
    if declared is not None:
        return check_integer("train_data.batch_size", declared)
    return row_count(batch_of(experiment.train_data, 0, "train_data"), "train_data")


def _call_arguments(model: nn.Module, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments of the model that come from the batch.

    Raises:
        TypeError: the model's ``__call__`` does not take them, or not the keyword ``train``.
        ValueError: the batch has no ``inputs``.
    """
    inputs = get_field(batch, "inputs")
    positional = (inputs, batch["lengths"]) if "lengths" in batch else (inputs,)
    named = {"resets": batch["resets"]} if "resets" in batch else {}
    check_call(f"{type(model).__name__}.__call__", model.__call__, *positional, **named, train=False)
    return positional, named


def check_call(name: str, function: Callable[..., Any], *positional: Any, **named: Any) -> None:
    """Checks that a function can be called with these arguments; it is not called.

    Args:
        name: what the error message calls the function.
        function: the function.
        positional: its positional arguments.
        named: its keyword arguments.

    Raises:
        TypeError: it cannot be called, or it takes other arguments.
    """
    if not callable(function):
        raise TypeError(f"{name}: got {function!r}, expected a function")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C has no signature
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        call = ", ".join([*["..."] * len(positional), *(f"{key}=..." for key in named)])
        raise TypeError(
            f"{name}: got {name}{signature}, expected a function for {name}({call}); {error}"
        ) from None
