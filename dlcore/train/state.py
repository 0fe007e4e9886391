"""The one place where a run's state lives."""

import flax
import jax
import jax.numpy as jnp
import optax

from dlcore.train.experiment import Batch, Experiment, Metrics, ModelState, Params
from dlcore.utils.rng import stream_key

NONE_BAD = -1


@flax.struct.dataclass
class TrainState:
    """All that a step changes; with the Config it determines the rest of the run to the bit.

    Attributes:
        step: updates so far, int32 scalar.
        params: what is learned.
        model_state: what the model keeps beside it, for instance BatchNorm's running statistics.
        opt_state: optax's state.
        metrics: sums of the training metrics since the last logged row. They are part of the state so that
            logging forces no wait for the device, and a resumed run logs what an unstopped one does.
        average: the moving average of ``params``; None where none is kept.
        bad_step: the first step whose loss, gradient or update was not finite, at which the state has stayed; -1
            where there was none. int32 scalar.
    """

    step: jax.Array
    params: Params
    model_state: ModelState
    opt_state: optax.OptState
    metrics: Metrics
    average: Params | None
    bad_step: jax.Array

    @property
    def evaluated_params(self) -> Params:
        """The parameters to evaluate and to use: their moving average where one is kept."""
        return self.params if self.average is None else self.average


def make_state(
    experiment: Experiment,
    optimizer: optax.GradientTransformation,
    seed: int,
    batch: Batch,
    *,
    averaged: bool = False,
) -> TrainState:
    """The state at step 0, without metrics; pure, for use under ``jax.jit`` or ``jax.eval_shape``.

    Args:
        experiment: whose ``init`` makes parameters and model state.
        optimizer: whose ``init`` makes the optimizer state.
        seed: of the initialization.
        batch: shows ``init`` the shapes.
        averaged: whether a moving average of the parameters is kept, which begins at them.
    """
    params, model_state = experiment.init(stream_key(seed, "init"), batch)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        metrics={},
        average=params if averaged else None,
        bad_step=jnp.full((), NONE_BAD, jnp.int32),
    )
