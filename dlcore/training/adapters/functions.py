"""A model as two pure functions becomes a loss function and a function that predicts."""

from typing import Any

import jax

from dlcore.data.batch import STREAMS
from dlcore.training.arguments import check_call, check_pair
from dlcore.training.model import (
    Batch,
    LossFunction,
    Metrics,
    ModelState,
    OutputLoss,
    Params,
    Predict,
    PureModel,
)
from dlcore.utils.checks import check_callable


def with_loss(model: PureModel, loss: OutputLoss) -> tuple[LossFunction, Predict]:
    """The ``loss`` and the ``predict`` of an `Experiment`.

    A batch in an evaluation of streams has their state as a field, see `LossFunction`. ``apply`` gets it as a part of
    its model state.

    Args:
        model: the model.
        loss: the loss of its outputs.

    Raises:
        TypeError: a function is none, or ``apply`` takes other arguments; the returned functions raise it if one does
            not return two values.
    """
    check_callable("init", model.init, "init(rng, batch)")
    check_callable("apply", model.apply, "apply(params, model_state, batch, rng, train)")
    check_call("apply", model.apply, *[None] * 5)
    check_callable("loss", loss, "dl.losses.classification")

    def run(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[Any, ModelState]:
        returned = model.apply(params, model_state, batch, rng, train)
        return check_pair("apply", returned, "outputs, model_state")

    def run_loss(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
        begin: Any = {**model_state, STREAMS: batch[STREAMS]} if STREAMS in batch else model_state
        outputs, new_state = run(params, begin, batch, rng, train)
        value, metrics = check_pair("loss", loss(outputs, batch), "loss, metrics")
        if not train:
            new_state = {**begin, STREAMS: new_state[STREAMS]} if STREAMS in batch else model_state
        return value, (new_state, metrics)

    def predict(params: Params, model_state: ModelState, batch: Batch) -> Any:
        # The model draws nothing in an evaluation; it only needs some key as its argument.
        return run(params, model_state, batch, jax.random.key(0), False)[0]

    return run_loss, predict
