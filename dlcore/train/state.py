"""The one place where a run's state lives."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import flax
import jax
import jax.numpy as jnp
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

    def with_zero_metrics(self) -> "TrainState":
        """The same state with all sums of its metrics at 0."""
        return self.replace(metrics=_zeros_like(self.metrics))  # type: ignore[attr-defined]


# With the argument kept, the zeros stand on its devices: the step sees one kind of argument, compiles once.
@partial(jax.jit, keep_unused=True)
def _zeros_like(metrics: Metrics) -> Metrics:
    return optax.tree.zeros_like(metrics)


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
        state = TrainState(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), {})
        shapes = jax.eval_shape(train_step, state, batch).metrics
        return state.replace(metrics=optax.tree.zeros_like(shapes))  # type: ignore[attr-defined]

    # Placed explicitly, as a restored state is: the step sees one kind of argument and compiles once.
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.jit(init, out_shardings=device)(batch)
