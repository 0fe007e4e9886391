"""The optimizer: an optax chain made from its Config, with clipping that is measured."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore.config.durations import Duration
from dlcore.config.settings import setting
from dlcore.ops import clipping
from dlcore.train.metrics import Average, Metric


@dataclass
class OptimizerConfig:
    """Which update rule, at which step size."""

    name: Literal["sgd", "momentum", "adam", "adamw"] = setting("adam", "Update rule.")
    learning_rate: float = setting(1e-3, "Step size at its peak.", minimum=0)
    schedule: Literal["constant", "cosine", "linear"] = setting(
        "constant", "How the learning rate goes from its peak: it stays, or falls to 0 at the last step."
    )
    warmup_steps: int | Duration = setting(
        0, "Steps in which the learning rate rises from 0 to its peak.", minimum=0
    )
    momentum: float = setting(0.9, "Decay of momentum's running mean (adam's b1).", minimum=0, below=1)
    weight_decay: float = setting(
        0.0, "Weight decay of kernels, not of biases and norms; decoupled for adamw, L2 otherwise.", minimum=0
    )
    clip_norm: float | None = setting(
        None, "Clip the gradient to this global norm; none measures it and leaves it.", above=0
    )


class ClipState(NamedTuple):
    """What the last step's clipping saw: the global norm before and after it."""

    norm: jax.Array
    clipped_norm: jax.Array


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The learning rate of each of ``steps`` steps: a linear warm-up, then the named course.

    Raises:
        ValueError: a warm-up that is longer than the run.
    """
    warmup_steps = int(config.warmup_steps)  # a duration is a number of steps by now
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
    """clip -> weight decay -> update rule, with the schedule's learning rate."""
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
    """The weight decay mask: matrices and filters, not biases, scales and offsets."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def clip_and_measure(threshold: float | None) -> optax.GradientTransformation:
    """``if ||g|| > threshold: g <- threshold * g / ||g||`` (lecture: gradient clipping), keeping both norms.

    Unlike ``optax.clip_by_global_norm`` also where the norm's square is no float32 (see `ops.clipping`); None only
    measures.
    """

    def init(params: optax.Params) -> ClipState:
        return ClipState(jnp.zeros(()), jnp.zeros(()))

    def update(
        updates: optax.Updates, state: ClipState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ClipState]:
        clipped = updates if threshold is None else clipping.clip(updates, threshold)
        return clipped, ClipState(clipping.norm(updates), clipping.norm(clipped))

    return optax.GradientTransformation(init, update)


def is_usable(gradient: optax.Updates, opt_state: optax.OptState) -> jax.Array:
    """Whether the gradient is one to go by: behind the clipping, its squares, which Adam sums up, are finite."""
    clipped_norm = optax.tree.get(opt_state, "clipped_norm")
    return jnp.isfinite(jnp.square(clipping.norm(gradient) if clipped_norm is None else clipped_norm))


def clip_metrics(opt_state: optax.OptState) -> dict[str, Metric]:
    """What `clip_and_measure` saw in the last step, for any optimizer that has it; else nothing.

    ``clipped_fraction`` averages to the share of steps in which clipping changed the gradient.
    """
    norm = optax.tree.get(opt_state, "norm")
    if norm is None:
        return {}
    clipped_norm = optax.tree.get(opt_state, "clipped_norm")
    # Scaling rounds: only a real change of the norm is clipping.
    changed = clipped_norm < norm * (1 - 1e-6)
    return {
        "gradient_norm": Average.of(norm),
        "gradient_norm_clipped": Average.of(clipped_norm),
        "clipped_fraction": Average.of(changed),
    }
