"""The one place where a run's state lives."""

from collections.abc import Callable
from typing import TypeAlias

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import streams
from dlcore.train.experiment import Batch, Experiment, Metrics, ModelState, Params


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
    """

    step: jax.Array
    params: Params
    model_state: ModelState
    opt_state: optax.OptState
    metrics: Metrics

    def with_metrics(self, shapes: Metrics) -> "TrainState":
        """The same state with metrics of these shapes, all sums at 0."""
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return self.replace(metrics=jax.device_put(zeros, self.step.sharding))  # type: ignore[attr-defined]


Step: TypeAlias = Callable[[TrainState, Batch], TrainState]


def initial_state(
    experiment: Experiment, optimizer: optax.GradientTransformation, seed: int, train_step: Step
) -> TrainState:
    """The state at step 0, made in one compiled program.

    Args:
        experiment: whose ``init`` makes parameters and model state.
        optimizer: whose ``init`` makes the optimizer state.
        seed: of the initialisation.
        train_step: says, by its abstract evaluation, which metrics there are to sum.
    """
    batch = jax.tree.map(jnp.asarray, dict(experiment.train_data[0]))

    def init(batch: Batch) -> TrainState:
        params, model_state = experiment.init(streams.key(seed, "init"), batch)
        return TrainState(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), {})

    # Placed explicitly, as a restored state is: the step sees one kind of argument and compiles once.
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = jax.jit(init, out_shardings=device)(batch)
    return state.with_metrics(jax.eval_shape(train_step, state, batch).metrics)
