"""The contract between an experiment and everything that trains, restores and measures it.

An experiment is a model as two pure functions, together with its data. Training sees only these functions, so a model
may be written in Flax, in plain JAX or in any other library.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import jax

from dlcore.data.pipeline import ByStep
from dlcore.training.callbacks.callback import Callback
from dlcore.training.checkpoints.ranking import is_falling
from dlcore.training.config import Config
from dlcore.training.mesh import ShardingRules
from dlcore.training.model import Batch, LossFunction, ModelState, OutputLoss, Params, PureModel
from dlcore.training.model import Metrics as Metrics
from dlcore.training.optimizers.make import MakeOptimizer
from dlcore.training.options import (
    EvalData,
    EvalMetrics,
    Figures,
    Generate,
    Mode,
    Monitor,
    Options,
    Scores,
    check_options,
)

if TYPE_CHECKING:
    from flax import linen, nnx


C = TypeVar("C", bound="Config")


@dataclass(frozen=True)
class Experiment:
    """A model as pure functions, its data, and what else the command line needs to know about it.

    Attributes:
        init: ``init(rng, batch) -> params, model_state``; called under ``jax.jit``.
        loss: see `LossFunction`; with ``train=False`` it computes the evaluation.
        train_data: ``train_data[step] -> batch``, a dict of arrays ``[B, ...]``.
        eval_data: batches of a finite set, iterated once in each evaluation; a ``mask`` is False for padded rows. If
            they have ``resets``, as those of `data.StreamEvaluation`, each row of a batch begins with the state of
            `Stateful` layers that the same row of the previous batch ended with. Or a dict of several such sets by
            name; the metrics of an evaluation then have the names ``SET/METRIC``.
        best: the evaluation metric that decides which checkpoint is the best; ``SET/METRIC`` if the sets have names.
        lower_is_better: True if the smallest value is the best, as for a loss. None: True if the name of ``best`` ends
            with ``loss``, ``error`` or ``perplexity``.
        eval_metrics: ``eval_metrics(params, model_state, batch) -> {name: metric}``, more metrics of an evaluation than
            the loss gives, for instance error rates of the sequences that the model generates. They are sums, as all
            metrics, and are compiled together with the loss.
        scores: ``scores(params, model_state) -> {name: number}``, more results of an evaluation that are no sums over
            rows, for instance those that another library computes from texts. It is called once for each evaluation.
        figures: ``figures(params, model_state) -> {name: matplotlib figure}``, drawn at the end of a run.
        monitor: ``monitor(params, model_state) -> {name: number}``, more numbers for the log, measured every
            ``--config.train.monitor_every`` steps. If it is None and the setting is given, the command line adds a
            monitor of the gradient's norms by lag, see `gradflow.models.monitor`.
        generate: ``generate(model, texts) -> {file name: content}``, the function of ``--mode=generate``. It gets the
            `TrainedModel` and the texts of ``--input``, which are none if it shall choose its own examples. A content
            is text, bytes or a matplotlib figure.
        files: texts by file name that belong to the run, for instance its vocabulary. They are written into the run's
            folder. A run does not go on, and none of its checkpoints is read, if the texts there are others.
        modes: more modes of the command line: functions by name, see `Mode`.
        sharding_rules: how ``--config.mesh.parameters=by_rules`` splits parameters, see `mesh.parameter_specs`; for
            instance ``{"recurrent_kernel|input_kernel": (None, "model"), ".*": ()}``.
        optimizer: ``optimizer(config, steps) -> optax transformation``, in place of the rule that the config names;
            ``config`` is the whole config with all durations in steps, and ``steps`` the length of the run. The run
            clips before it by ``clip_norm`` and keeps parameters of ``frozen`` from it; rule, learning rate, schedule
            and weight decay are the function's. ``optimizer.name`` is ``custom`` in the config and in ``config.json``.
        predict: ``predict(params, model_state, batch) -> outputs``, the model's outputs in evaluation. The constructors
            ``from_...`` make it.
        callbacks: what the training loop calls after rows, evaluations and checkpoints, see `callbacks.Callback`.

    Raises:
        TypeError: a field after ``eval_data`` has another type, or ``optimizer`` takes other arguments.
            `contract.check_model` checks the model and its data.
        ValueError: a sharding rule is no regular expression.
    """

    init: Callable[[jax.Array, Batch], tuple[Params, ModelState]]
    loss: LossFunction
    train_data: ByStep[Batch]
    eval_data: EvalData
    best: str = "accuracy"
    lower_is_better: bool | None = None
    eval_metrics: EvalMetrics | None = None
    scores: Scores | None = None
    figures: Figures | None = None
    monitor: Monitor | None = None
    generate: Generate | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, Mode] = field(default_factory=dict)
    sharding_rules: ShardingRules = field(default_factory=dict)
    optimizer: MakeOptimizer | None = None
    predict: Callable[[Params, ModelState, Batch], Any] | None = None
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def minimizes(self) -> bool:
        """True if the smallest value of ``best`` is the best."""
        return is_falling(self.best) if self.lower_is_better is None else self.lower_is_better

    @property
    def eval_sets(self) -> Mapping[str, Iterable[Batch]]:
        """The evaluation sets by name; a set without a name has the name ``""``."""
        return self.eval_data if isinstance(self.eval_data, Mapping) else {"": self.eval_data}

    def evaluate_batch(
        self, params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool = False
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
        """The loss in an evaluation with all metrics: those of `loss` and those of `eval_metrics`.

        Raises:
            ValueError: both have a metric of the same name.
        """
        value, (model_state, metrics) = self.loss(params, model_state, batch, rng, train)
        more = self.eval_metrics(params, model_state, batch) if self.eval_metrics else {}
        if both := sorted(set(metrics) & set(more)):
            raise ValueError(
                f"eval_metrics: got {both[0]!r}, expected another name; the loss has such a metric"
            )
        return value, (model_state, {**metrics, **more})

    @classmethod
    def from_functions(
        cls,
        init: Callable[[jax.Array, Batch], tuple[Params, ModelState]],
        apply: Callable[[Params, ModelState, Batch, jax.Array, bool], tuple[Any, ModelState]],
        *,
        loss: OutputLoss,
        **options: Unpack[Options],
    ) -> "Experiment":
        """An `Experiment` made from a model as two pure functions, as plain JAX and Haiku have it.

        Args:
            init: ``init(rng, batch) -> params, model_state``. Both are trees of arrays; the state of a model without
                one is ``{}``.
            apply: ``apply(params, model_state, batch, rng, train) -> outputs, model_state``. A model without a state
                returns what it got. The state that an evaluation returns is not used.
            loss: ``loss(outputs, batch) -> loss, metrics``, for instance `losses.classification`.
            options: the other fields of an `Experiment` by name; ``train_data`` and ``eval_data`` are required.

        Raises:
            TypeError: a function is none, or an option has another name or type.
            ValueError: as in `Experiment`.
        """
        from dlcore.training.adapters.functions import with_loss

        run_loss, predict = with_loss(PureModel(init, apply), loss)
        empty: dict[str, Any] = {
            name: {} for name in ("files", "modes", "sharding_rules") if options.get(name) is None
        }
        return cls(init=init, loss=run_loss, predict=predict, **{**options, **empty})

    @classmethod
    def from_flax(
        cls,
        model: "linen.Module",
        *,
        loss: OutputLoss,
        rngs: Sequence[str] = ("dropout",),
        **options: Unpack[Options],
    ) -> "Experiment":
        """An `Experiment` made from a Flax linen module.

        The module gets the fields of the batch that the parameters of its ``__call__`` name, such as ``inputs`` and
        ``lengths``, and ``train``, if it names that; see `arguments.model_arguments`. Its collections other than
        ``params`` (BatchNorm's statistics) are the model state.

        Args:
            model: the module.
            loss: ``loss(outputs, batch) -> loss, metrics``, for instance `losses.classification`.
            rngs: the names of the streams of random keys from which the module draws with ``make_rng``. Each gets a key
                of its own at each step.
            options: as in `from_functions`.

        Raises:
            TypeError: the model is not a linen module; or as in `from_functions`.
            ValueError: as in `Experiment`.
        """
        from dlcore.training.adapters.flax import flax_model

        return cls.from_functions(*flax_model(model, rngs), loss=loss, **options)

    @classmethod
    def from_nnx(
        cls, model: "Callable[..., nnx.Module]", *, loss: OutputLoss, **options: Unpack[Options]
    ) -> "Experiment":
        """An `Experiment` made from a Flax NNX module.

        The module gets the fields of the batch that its ``__call__`` names, as in `from_flax`, and an ``nnx.Rngs`` as
        ``rngs`` if it names that. ``module.train()`` and ``module.eval()`` choose the mode. Variables of the type
        ``nnx.Param`` are the parameters, all others are the model state, without ``nnx.Intermediate``. The keys of its
        random streams are derived from the step, and their state is not kept.

        Args:
            model: makes the module; it is called as ``model(rngs=nnx.Rngs(key))``. A class, a ``functools.partial`` of
                one, or ``lambda rngs: Model(3, rngs=rngs)``.
            loss: as in `from_functions`.
            options: as in `from_functions`.

        Raises:
            TypeError: the model cannot be called so; or as in `from_functions`.
            ValueError: as in `Experiment`.
        """
        from dlcore.training.adapters.nnx import nnx_model

        return cls.from_functions(*nnx_model(model), loss=loss, **options)

    @classmethod
    def from_equinox(
        cls, model: Callable[..., Any], *, loss: OutputLoss, batched: bool = False, **options: Unpack[Options]
    ) -> "Experiment":
        """An `Experiment` made from an Equinox module.

        The module gets the fields of the batch that its ``__call__`` names, as in `from_flax`, and ``key`` and
        ``state`` if it names these. It is called for one row at a time, under ``jax.vmap(..., axis_name="batch")``,
        with a key for each row. ``equinox.nn.inference_mode`` chooses the mode. Floating-point arrays are the
        parameters. Other arrays and the ``equinox.nn.State`` are the model state.

        Args:
            model: makes the module; it is called as ``model(key=key)``. A class, a ``functools.partial`` of one, or
                ``lambda key: Model(3, key=key)``. For a module with a state it is
                ``equinox.nn.make_with_state(Model)``; that module returns ``outputs, state``.
            loss: as in `from_functions`.
            batched: True to call the module with whole batches and one key.
            options: as in `from_functions`.

        Raises:
            ModuleNotFoundError: Equinox is not installed.
            TypeError: the model cannot be called so; or as in `from_functions`.
            ValueError: as in `Experiment`.
        """
        from dlcore.training.adapters.equinox import equinox_model

        return cls.from_functions(*equinox_model(model, batched), loss=loss, **options)


def metric_name(eval_set: str, metric: str) -> str:
    """The name of a metric of an evaluation set in the results of an evaluation.

    >>> metric_name("dev", "accuracy"), metric_name("", "accuracy")
    ('dev/accuracy', 'accuracy')
    """
    return f"{eval_set}/{metric}" if eval_set else metric


def data_name(eval_set: str) -> str:
    """What error messages call the data of an evaluation set: ``eval_data``, or ``eval_data['dev']``."""
    return f"eval_data[{eval_set!r}]" if eval_set else "eval_data"
