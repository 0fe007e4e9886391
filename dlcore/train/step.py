"""One step of training, and one of evaluation."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax

from dlcore import streams
from dlcore.train.experiment import Batch, Experiment, Metrics, ModelState, Params
from dlcore.train.optimizer import clip_metrics
from dlcore.train.state import Step, TrainState

EvalStep: TypeAlias = Callable[[Params, ModelState, Batch], Metrics]


def make_train_step(experiment: Experiment, optimizer: optax.GradientTransformation, seed: int) -> Step:
    """The jitted update ``w <- w - eta dL/dw``: ``train_step(state, batch) -> state``.

    The state that goes in is donated: its buffers become the new one's.
    """

    def train_step(state: TrainState, batch: Batch) -> TrainState:
        rng = streams.key(seed, "dropout", state.step)
        gradient = jax.grad(experiment.loss, has_aux=True)
        grads, (model_state, metrics) = gradient(state.params, state.model_state, batch, rng, True)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics = {**metrics, **clip_metrics(opt_state)}
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            metrics=jax.tree.map(jnp.add, state.metrics, metrics) if state.metrics else metrics,
        )

    return jax.jit(train_step, donate_argnames="state")


def make_eval_step(experiment: Experiment) -> EvalStep:
    """The jitted evaluation of one batch: ``eval_step(params, model_state, batch) -> metrics``."""

    def eval_step(params: Params, model_state: ModelState, batch: Batch) -> Metrics:
        # Evaluation draws nothing; the key only fills the argument.
        return experiment.loss(params, model_state, batch, jax.random.key(0), False)[1][1]

    return jax.jit(eval_step)
