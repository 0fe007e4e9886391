"""A model and its loss as pure functions, the form in which training sees the models of every library."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import chex
import jax

from dlcore.training.metrics import Metric

Params: TypeAlias = chex.ArrayTree
ModelState: TypeAlias = chex.ArrayTree
Batch: TypeAlias = Mapping[str, Any]
"""The fields of a batch by name, as `data.batch` describes them, on the host or on the devices."""
Metrics: TypeAlias = dict[str, Metric]
OutputLoss: TypeAlias = Callable[[Any, Batch], tuple[jax.Array, Metrics]]
"""``loss(outputs, batch) -> loss, metrics``, such as `losses.classification`; the model returned ``outputs``."""
Predict: TypeAlias = Callable[[Params, ModelState, Batch], Any]
"""``predict(params, model_state, batch) -> outputs``, as the model returns them in an evaluation."""


class PureModel(NamedTuple):
    """A model without a loss.

    Attributes:
        init: ``init(rng, batch) -> params, model_state``.
        apply: ``apply(params, model_state, batch, rng, train) -> outputs, model_state``.
    """

    init: Callable[[jax.Array, Batch], tuple[Params, ModelState]]
    apply: Callable[[Params, ModelState, Batch, jax.Array, bool], tuple[Any, ModelState]]


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
