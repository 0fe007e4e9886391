"""The optimizer: an optax chain that `OptimizerConfig` describes, with gradient clipping that is measured."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore.config.durations import Duration
from dlcore.config.settings import setting
from dlcore.ops import clipping
from dlcore.training.metrics import Average, Metric


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
    """The measurements of `clip_and_measure` in its last update; 0 before the first.

    Attributes:
        norm: global norm of the gradient before clipping, a scalar.
        clipped_norm: global norm of the gradient after clipping, a scalar.
    """

    norm: jax.Array
    clipped_norm: jax.Array


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The optax schedule of a run of ``steps`` steps, step -> learning rate.

    It is a linear warm-up from 0, then constant, or a cosine or a line down to 0, as the config says. Steps count from
    0, and without ``warmup_steps`` there is no warm-up.

    Args:
        config: the settings; ``warmup_steps`` must be a number of steps.
        steps: the number of steps in the run.

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
    """The optax chain: clipping, then L2 weight decay, then the update rule with the schedule's learning rate.

    ``adamw`` has no L2 weight decay; its update rule contains the decoupled decay.

    Args:
        config: the settings; ``warmup_steps`` must be a number of steps.
        steps: the number of steps in the run.

    Raises:
        ValueError: the warm-up is longer than the run.
    """
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
    """The mask of weight decay: a tree of bools with the structure of ``params``, True for kernels.

    A parameter's name says what it is, `is_kernel`; its rank does not, because layers that are stacked for a scan give
    each parameter one more dimension. A name that says nothing, such as ``w1``, or a parameter without a name counts
    as a kernel if the array has two or more dimensions.

    >>> params = {"recurrent_kernel": jnp.ones(3), "bias": jnp.ones((2, 3)), "w1": jnp.ones((3, 3)), "w2": jnp.ones(3)}
    >>> is_decayed(params)
    {'bias': False, 'recurrent_kernel': True, 'w1': True, 'w2': False}
    """

    def decays(path: Any, leaf: jax.Array) -> bool:
        kernel = is_kernel(_name_of(path))
        return leaf.ndim > 1 if kernel is None else kernel

    return jax.tree_util.tree_map_with_path(decays, params)


def is_kernel(name: str) -> bool | None:
    """True if a parameter's name says that it is a kernel, False if it says that it is none, None if it says nothing.

    A kernel multiplies what a layer reads: ``kernel``, ``embedding``, or a name that ends in ``_kernel``. A bias is
    added, a scale multiplies normalized values: ``bias``, ``scale``, or a name that ends in ``_bias`` or ``_scale``.

    >>> [is_kernel(name) for name in ("kernel", "input_kernel", "recurrent_scale", "weights")]
    [True, True, False, None]
    """
    role = name.rsplit("_", maxsplit=1)[-1]
    return {"kernel": True, "embedding": True, "bias": False, "scale": False}.get(role)


def _name_of(path: tuple[Any, ...]) -> str:
    """The last name in a leaf's path; indexes of lists, and the ``value`` of a boxed parameter, are no names."""
    keys = [getattr(entry, "key", getattr(entry, "name", None)) for entry in path]
    return next((key for key in reversed(keys) if isinstance(key, str) and key != "value"), "")


def clip_and_measure(threshold: float | None) -> optax.GradientTransformation:
    """An optax transformation ``if ||g|| > threshold: g <- threshold * g / ||g||`` (lecture: gradient clipping).

    ``||g||`` is the norm over all leaves. The transformation's state is a `ClipState` with the norms before and after
    clipping. In contrast to ``optax.clip_by_global_norm``, it also works if the norm's square overflows float32 (see
    `ops.clipping`).

    Args:
        threshold: the largest norm; None: the gradient is not changed, and only its norm is measured.
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
    """True if the square of the clipped gradient's global norm is finite, as Adam needs: a boolean scalar array.

    Args:
        gradient: the gradient before clipping, a tree of arrays. Its norm counts if the optimizer has no
            `clip_and_measure`.
        opt_state: the optimizer state after the update.
    """
    clip_state = find_clip_state(opt_state)
    norm = clipping.norm(gradient) if clip_state is None else clip_state.clipped_norm
    return jnp.isfinite(jnp.square(norm))


def update_count(opt_state: optax.OptState) -> int | None:
    """How many updates the optimizer state counts, without steps that were left out; None if it has no count."""
    counts = [count for _, count in optax.tree.get_all_with_path(opt_state, "count")]
    return max(map(int, jax.device_get(counts)), default=None)


def clip_metrics(opt_state: optax.OptState) -> dict[str, Metric]:
    """A dict of metrics of the last step's clipping; empty if the optimizer has no `clip_and_measure`.

    ``gradient_norm`` and ``gradient_norm_clipped`` are the norms in `ClipState`. ``clipped_fraction`` is 1 if clipping
    changed the gradient and 0 if not; over several steps it averages to the fraction of the clipped ones.
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
