"""The one place where a run's state lives."""

import flax
import jax
import jax.numpy as jnp
import optax

from dlcore.training.experiment import Batch, Experiment, Metrics, ModelState, Params
from dlcore.utils.rng import stream_key

NONE_BAD = -1


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes; together with the Config it determines the rest of the run to the bit.

    Attributes:
        step: number of steps so far, int32 scalar; also steps whose update ``on_nan`` left out.
        params: the parameters that are learned.
        model_state: the model's other variables, for instance BatchNorm's running statistics.
        opt_state: the state of the optax optimizer.
        metrics: sums of the training metrics by name since the last logged row. They are part of the state for two
            reasons: logging does not wait for the device, and a resumed run logs the same values as a run that never
            stopped.
        average: the moving average of ``params``; None if the config asks for none.
        bad_step: the first step whose loss, gradient or update was not finite, at which the state stopped; -1 if
            there was none, and always with ``on_nan`` ``skip`` or ``zero``. int32 scalar.
        remainders: what rounding left out of ``metrics``, a vector with one number for each float of theirs in turn, so
            that the sums count every label of a row, however long; see `step.add_sums`.
    """

    step: jax.Array
    params: Params
    model_state: ModelState
    opt_state: optax.OptState
    metrics: Metrics
    average: Params | None
    bad_step: jax.Array
    remainders: jax.Array | None = None

    @property
    def evaluated_params(self) -> Params:
        """The parameters for evaluation and use: the moving average if there is one, else ``params``."""
        return self.params if self.average is None else self.average


def make_state(
    experiment: Experiment,
    optimizer: optax.GradientTransformation,
    seed: int,
    batch: Batch,
    *,
    averaged: bool = False,
) -> TrainState:
    """The `TrainState` at step 0, with empty ``metrics``; pure, for use under ``jax.jit`` or ``jax.eval_shape``.

    Args:
        experiment: its ``init`` makes the parameters and the model state.
        optimizer: its ``init`` makes the optimizer state.
        seed: seed of the initialization.
        batch: a batch that shows ``init`` the shapes.
        averaged: True to keep a moving average of the parameters, which starts at the parameters.
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
        remainders=jnp.zeros(0),
    )
