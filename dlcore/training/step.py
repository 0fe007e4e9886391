"""One step of training and the evaluation of one batch, as pure functions that `engine` compiles."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from dlcore.ops import clipping
from dlcore.training.config import TrainConfig
from dlcore.training.experiment import Batch, Experiment, LossFunction, Metrics, ModelState, Params
from dlcore.training.metrics import Average
from dlcore.training.optimizers.clipping import clip_metrics, is_usable
from dlcore.training.precision import with_precision
from dlcore.training.state import NONE_BAD, TrainState
from dlcore.utils.rng import stream_key

TrainStep: TypeAlias = Callable[[TrainState, Batch], TrainState]
EvalStep: TypeAlias = Callable[[Params, ModelState, Batch], Metrics]
Gradient: TypeAlias = Callable[
    [Params, ModelState, Batch, jax.Array], tuple[Params, jax.Array, ModelState, Metrics]
]

NONFINITE = "nonfinite_fraction"


def make_train_step(
    experiment: Experiment, optimizer: optax.GradientTransformation, seed: int, config: TrainConfig
) -> TrainStep:
    """The update ``w <- w - eta dL/dw`` as a pure function ``train_step(state, batch) -> state``.

    Args:
        experiment: its loss is minimized.
        optimizer: an optax chain; it gets one gradient in each step, however many micro-batches were added, and the
            step's loss as the extra argument ``value``.
        seed: seed of dropout.
        config: precision, micro-batches, remat, moving average, and what happens after a step that is not finite.

    Returns:
        The function; it raises ValueError if ``micro_batches`` does not divide the rows of the batch.
    """
    gradient = accumulate_gradients(make_gradient(experiment.loss, config), config.micro_batches)
    update = optax.with_extra_args_support(optimizer).update

    def train_step(state: TrainState, batch: Batch) -> TrainState:
        rng = stream_key(seed, "dropout", state.step)
        grads, loss, model_state, metrics = gradient(state.params, state.model_state, batch, rng)
        usable = zero_nonfinite(grads) if config.on_nan == "zero" else grads
        updates, opt_state = update(usable, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        average = moving_average(state.average, params, config.ema_decay, state.step)
        updated = state.replace(  # type: ignore[attr-defined]
            params=params, model_state=model_state, opt_state=opt_state, average=average
        )
        finite = jnp.isfinite(loss) & is_usable(usable, opt_state) & jnp.isfinite(clipping.largest(updates))
        measured = {**metrics, **clip_metrics(opt_state)}
        bad_fraction: Metrics = {}
        if config.on_nan in ("skip", "zero"):
            bad_fraction[NONFINITE] = Average.of(~(finite & jnp.isfinite(clipping.largest(grads))))
        return _advance(state, updated, measured, finite, bad_fraction)

    return train_step


def make_gradient(loss: LossFunction, config: TrainConfig) -> Gradient:
    """A function ``gradient(params, model_state, batch, rng) -> dL/dw, L, model_state, metrics``, for training.

    Args:
        loss: the loss function L; it is called with ``train=True``.
        config: its ``precision`` and ``remat`` are used.
    """
    loss = with_precision(loss, config.precision)

    def training(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array
    ) -> tuple[jax.Array, Any]:
        return loss(params, model_state, batch, rng, True)

    value_and_grad = jax.value_and_grad(jax.checkpoint(training) if config.remat else training, has_aux=True)

    def gradient(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array
    ) -> tuple[Params, jax.Array, ModelState, Metrics]:
        (value, (model_state, metrics)), grads = value_and_grad(params, model_state, batch, rng)
        return grads, value, model_state, metrics

    return gradient


def accumulate_gradients(gradient: Gradient, micro_batches: int) -> Gradient:
    """A function like ``gradient`` that computes the same mean from micro-batches, one after the other, to save memory.

    Micro-batch ``k`` of ``K`` holds the rows ``k, k + K, ...``, so that each device keeps its share of each
    micro-batch. If the metric ``loss`` is a `metrics.Average`, each micro-batch is weighted by what it counted, so that
    padded rows and ragged lengths have the same weight as in one batch. Any other loss weights all micro-batches
    equally. The model state (BatchNorm's statistics) is updated by one micro-batch after the other. The metrics are
    the sums over all micro-batches.

    Args:
        gradient: a function from `make_gradient`.
        micro_batches: K; for 1 the function itself is returned.

    Returns:
        The function; it raises ValueError if K does not divide the rows of the batch.
    """
    if micro_batches == 1:
        return gradient

    def split(rows: jax.Array) -> jax.Array:
        if rows.shape[0] % micro_batches:
            raise ValueError(
                f"micro_batches: got {micro_batches}, expected a divisor of {rows.shape[0]} rows"
            )
        return jnp.swapaxes(rows.reshape(-1, micro_batches, *rows.shape[1:]), 0, 1)

    def accumulate(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array
    ) -> tuple[Params, jax.Array, ModelState, Metrics]:
        def add(carry: Any, part: tuple[jax.Array, Batch]) -> tuple[Any, None]:
            model_state, sums = carry
            index, micro_batch = part
            grads, loss, model_state, metrics = gradient(
                params, model_state, micro_batch, jax.random.fold_in(rng, index)
            )
            weight = _weight(metrics)
            weighted = jax.tree.map(lambda leaf: weight * leaf, (grads, loss))
            return (model_state, jax.tree.map(jnp.add, sums, (weighted, weight, metrics))), None

        parts = jnp.arange(micro_batches), jax.tree.map(split, dict(batch))
        first = jax.tree.map(lambda leaf: leaf[0], parts[1])
        grads, loss, _, metrics = jax.eval_shape(gradient, params, model_state, first, rng)
        zeros = optax.tree.zeros_like(((grads, loss), jax.eval_shape(_weight, metrics), metrics))
        (model_state, ((grads, loss), weight, metrics)), _ = jax.lax.scan(add, (model_state, zeros), parts)
        # A batch without valid rows has the gradient 0, not 0 / 0.
        grads, loss = jax.tree.map(lambda leaf: leaf / (weight + (weight == 0)), (grads, loss))
        return grads, loss, model_state, metrics

    return accumulate


def _weight(metrics: Metrics) -> jax.Array:
    """The weight of a micro-batch in the mean: what its metric ``loss`` counted, or 1."""
    loss = metrics.get("loss")
    return loss.weight if isinstance(loss, Average) else jnp.ones(())


def zero_nonfinite(grads: Params) -> Params:
    """A copy of the gradient, a tree of arrays, with 0 in place of each entry that is not finite."""
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0), grads)


def moving_average(
    average: Params | None, params: Params, decay: float | None, step: jax.Array
) -> Params | None:
    """The next moving average: ``a <- d a + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))`` at step n.

    The factor d is small in the first steps, so that the average soon forgets the initial parameters.

    Args:
        average: a, a tree like the parameters, or None.
        params: w, after the step's update.
        decay: the largest d, or None.
        step: n, an integer scalar, counted from 0.

    Returns:
        A tree like the parameters; None if ``average`` or ``decay`` is None.
    """
    if average is None or decay is None:
        return None
    rate = 1 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return optax.incremental_update(params, average, rate)


def _advance(
    state: TrainState, updated: TrainState, measured: Metrics, finite: jax.Array, bad_fraction: Metrics
) -> TrainState:
    """The state after a step: the update counts only if the step was finite.

    After a step that was not finite, the run normally stops: the state stays as it was before the step, so that it
    can be examined. With ``skip`` and ``zero`` the run continues with the next step instead.

    Args:
        state: before the step.
        updated: the state with the step's update.
        measured: the step's metrics, which count only if the step was finite.
        finite: True if the update may be used, a scalar.
        bad_fraction: the metric that counts the bad steps with ``skip`` and ``zero``; else empty.
    """
    accepted = finite & (state.bad_step == NONE_BAD)
    measured = {**_where(accepted, measured, optax.tree.zeros_like(measured)), **bad_fraction}
    bad_step = jnp.where(finite | (state.bad_step != NONE_BAD), state.bad_step, state.step)
    if state.metrics and state.remainders is not None:
        metrics, remainders = add_sums(state.metrics, state.remainders, measured)
    else:
        metrics = measured
        remainders = jnp.zeros_like(ravel_pytree(_floats(jax.tree.leaves(measured)))[0])
    return _where(accepted, updated, state).replace(
        step=state.step + (1 if bad_fraction else accepted),
        bad_step=state.bad_step if bad_fraction else bad_step,
        metrics=metrics,
        remainders=remainders,
    )


def add_sums(sums: Metrics, remainders: jax.Array, addends: Metrics) -> tuple[Metrics, jax.Array]:
    """Adds metrics without the loss of small addends: compensated summation (Kahan 1965).

    A float32 sum alone stays at 2^24 if ones are added to it. Here what rounding leaves out of a sum is added with the
    next addend, so that a sum is off by one rounding, however many addends there were.

    Args:
        sums: the sums so far, a tree of arrays.
        remainders: what rounding left out of them: a vector of all numbers of their leaves of floats in turn.
        addends: metrics of the same structure and types.

    Returns:
        The new sums and the new remainders.
    """
    leaves, new = jax.tree.leaves(sums), jax.tree.leaves(addends)
    before, unravel = ravel_pytree(_floats(leaves))
    missing = ravel_pytree(_floats(new))[0] + remainders
    total = before + missing
    lost = missing - (total - before)
    totals = iter(unravel(total))
    added = [
        next(totals) if _floats([leaf]) else leaf + addend for leaf, addend in zip(leaves, new, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(sums), added), jnp.where(jnp.isfinite(lost), lost, 0)


def _floats(leaves: list[Any]) -> list[Any]:
    """The leaves that hold floats, whose sums are rounded."""
    return [leaf for leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]


def _where(condition: jax.Array, first: Any, second: Any) -> Any:
    return jax.tree.map(lambda one, other: jnp.where(condition, one, other), first, second)


def make_eval_step(experiment: Experiment, config: TrainConfig) -> EvalStep:
    """The evaluation of one batch as a pure function ``eval_step(params, model_state, batch) -> metrics``.

    Args:
        experiment: its `Experiment.evaluate_batch` is called.
        config: its ``precision`` is used.
    """
    loss = with_precision(experiment.evaluate_batch, config.precision)

    def eval_step(params: Params, model_state: ModelState, batch: Batch) -> Metrics:
        # Evaluation draws no random numbers; the loss function only needs some key as its argument.
        return loss(params, model_state, batch, jax.random.key(0), False)[1][1]

    return eval_step
