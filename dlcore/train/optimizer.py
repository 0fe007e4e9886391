"""The optimizer: an optax chain that `OptimizerConfig` describes, with gradient clipping that is measured."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore.config.durations import Duration
from dlcore.config.settings import setting
from dlcore.ops import clipping
from dlcore.train.metrics import Average, Metric


@dataclass
class OptimizerConfig:
    """The update rule and its step size."""

    name: Literal["sgd", "momentum", "adam", "adamw"] = setting("adam", "Update rule.")
    learning_rate: float = setting(1e-3, "Largest learning rate of the run.", minimum=0)
    schedule: Literal["constant", "cosine", "linear"] = setting(
        "constant", "Course of the learning rate after the warm-up: constant, or down to 0 at the last step."
    )
    warmup_steps: int | Duration = setting(
        0, "Steps in which the learning rate rises linearly from 0 to learning_rate.", minimum=0
    )
    momentum: float = setting(
        0.9, "Decay of the running mean of gradients (momentum; b1 of adam).", minimum=0, below=1
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay of kernels, not of biases and norms; decoupled for adamw, L2 for the other rules.",
        minimum=0,
    )
    clip_norm: float | None = setting(
        None, "Clip the gradient to this global norm; none: measure the norm, clip nothing.", above=0
    )


class ClipState(NamedTuple):
    """The measurements of `clip_and_measure` in the last step.

    Attributes:
        norm: global norm of the gradient before clipping.
        clipped_norm: global norm of the gradient after clipping.
    """

    norm: jax.Array
    clipped_norm: jax.Array


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate of each of ``steps`` steps: a linear warm-up, then the course that the config names.

    Raises:
        ValueError: the warm-up is longer than the run.
    """
    warmup_steps = int(config.warmup_steps)  # the engine has turned durations into numbers of steps
    if warmup_steps > steps:
        raise ValueError(f"warmup_steps: got {warmup_steps}, expected at most the run's {steps} steps")
    rest = steps - warmup_steps
    course = {
        "constant": optax.constant_schedule(config.learning_rate),
        "cosine": optax.cosine_decay_schedule(config.learning_rate, max(rest, 1)),
        "linear": optax.linear_schedule(config.learning_rate, 0.0, max(rest, 1)),
    }[config.schedule]
    if not warmup_steps:
        return course
    warmup = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
    return optax.join_schedules([warmup, course], [warmup_steps])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The optax chain: clipping, then weight decay, then the update rule with the schedule's learning rate."""
    schedule = make_schedule(config, steps)
    rule = {
        "sgd": optax.sgd(schedule),
        "momentum": optax.sgd(schedule, momentum=config.momentum),
        "adam": optax.adam(schedule, b1=config.momentum),
        "adamw": optax.adamw(schedule, b1=config.momentum, weight_decay=config.weight_decay, mask=is_decayed),
    }[config.name]
    chain = [clip_and_measure(config.clip_norm)]
    if config.weight_decay and config.name != "adamw":
        chain.append(optax.add_decayed_weights(config.weight_decay, is_decayed))
    return optax.chain(*chain, rule)


def is_decayed(params: optax.Params) -> optax.Params:
    """The mask of weight decay: True for matrices and filters, False for biases, scales and offsets."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def clip_and_measure(threshold: float | None) -> optax.GradientTransformation:
    """``if ||g|| > threshold: g <- threshold * g / ||g||`` (lecture: gradient clipping); keeps both norms.

    In contrast to ``optax.clip_by_global_norm``, it also works if the norm's square overflows float32 (see
    `ops.clipping`). With the threshold None it only measures.
    """

    def init(params: optax.Params) -> ClipState:
        return ClipState(jnp.zeros(()), jnp.zeros(()))

    def update(
        updates: optax.Updates, state: ClipState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ClipState]:
        clipped = updates if threshold is None else clipping.clip(updates, threshold)
        return clipped, ClipState(clipping.norm(updates), clipping.norm(clipped))

    return optax.GradientTransformation(init, update)


def find_clip_state(opt_state: optax.OptState) -> ClipState | None:
    """The first `ClipState` in an optimizer state; None if the optimizer has no `clip_and_measure`."""

    def is_clip_state(node: Any) -> bool:
        return isinstance(node, ClipState)

    return next(filter(is_clip_state, jax.tree.leaves(opt_state, is_leaf=is_clip_state)), None)


def is_usable(gradient: optax.Updates, opt_state: optax.OptState) -> jax.Array:
    """True if the clipped gradient's squares are finite, as Adam needs.

    Args:
        gradient: before clipping; it counts if the optimizer has no `clip_and_measure`.
        opt_state: the optimizer state after the update.
    """
    clip_state = find_clip_state(opt_state)
    norm = clipping.norm(gradient) if clip_state is None else clip_state.clipped_norm
    return jnp.isfinite(jnp.square(norm))


def clip_metrics(opt_state: optax.OptState) -> dict[str, Metric]:
    """What `clip_and_measure` measured in the last step; empty if the optimizer does not have it.

    ``clipped_fraction`` averages to the fraction of steps in which clipping changed the gradient.
    """
    clip_state = find_clip_state(opt_state)
    if clip_state is None:
        return {}
    # Clipping rounds: only a larger change of the norm counts as clipping.
    changed = clip_state.clipped_norm < clip_state.norm * (1 - 1e-6)
    return {
        "gradient_norm": Average.of(clip_state.norm),
        "gradient_norm_clipped": Average.of(clip_state.clipped_norm),
        "clipped_fraction": Average.of(changed),
    }
