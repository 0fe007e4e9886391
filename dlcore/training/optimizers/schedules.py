"""The learning rate as a function of the number of updates so far."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import optax

from dlcore.training.optimizers.config import CUSTOM, OptimizerConfig
from dlcore.utils.checks import check_instance, check_integer

RISE = 0.3  # share of the run in which one_cycle rises if no warm-up is given


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """The optax schedule of a run of ``steps`` steps, count -> learning rate, where count is the number of updates.

    It is a linear warm-up from 0, then the course that ``config.schedule`` names; ``one_cycle`` has a warm-up of its
    own. With w = ``warmup_steps`` and eta = ``learning_rate``, at step n >= w:

        cosine        eta (f + (1 - f) (1 + cos(pi (n - w) / (steps - w))) / 2)    f = final_fraction
        linear        eta (1 - (1 - f) (n - w) / (steps - w))
        inverse_sqrt  eta sqrt(max(w, 1) / (max(w, 1) + n - w))        (Vaswani et al. 2017)
        piecewise     eta times the factors of all boundaries <= n
        plateau       eta; `make_optimizer` reduces it when the loss stops falling

    ``one_cycle`` (Smith 2018) rises from eta / 25 to eta and falls to eta / 250000, both as half a cosine.

    Args:
        config: the settings; ``warmup_steps`` and ``boundaries`` must be numbers of steps.
        steps: the number of steps in the run.

    Raises:
        ValueError: the warm-up is longer than the run, or as long with ``one_cycle``; ``boundaries`` and ``factors``
            differ in number, are not given with ``piecewise`` or are given with another schedule; or the boundaries do
            not rise.

    >>> schedule = make_schedule(OptimizerConfig(learning_rate=0.5, schedule="linear", final_fraction=0.5), 10)
    >>> [float(schedule(step)) for step in (0, 5, 10)]
    [0.5, 0.375, 0.25]
    """
    check_instance("config", config, OptimizerConfig, "a dl.OptimizerConfig")
    check_integer("steps", steps)
    warmup_steps = int(config.warmup_steps)  # the engine has turned durations into numbers of steps
    if warmup_steps > steps:
        raise ValueError(f"warmup_steps: got {warmup_steps}, expected at most the run's {steps} steps")
    _check_boundaries(config, warmup_steps)
    if config.schedule == "one_cycle":
        return _one_cycle(config, warmup_steps, steps)
    course = COURSES[config.schedule](config, max(steps - warmup_steps, 1))
    if not warmup_steps:
        return course
    warmup = optax.linear_schedule(0.0, config.learning_rate, warmup_steps)
    return optax.join_schedules([warmup, course], [warmup_steps])


def follows_length(config: OptimizerConfig) -> bool:
    """True if the number of steps in the run determines the learning rate of each step.

    An optimizer of the experiment's own gets this number, so it may.
    """
    return config.name == CUSTOM or config.schedule in ("cosine", "linear", "one_cycle")


def _check_boundaries(config: OptimizerConfig, warmup_steps: int) -> None:
    boundaries, factors = config.boundaries, config.factors
    if config.schedule != "piecewise":
        for name, given in (("boundaries", boundaries), ("factors", factors)):
            if given:
                raise ValueError(f"{name}: got {given} with schedule={config.schedule}, expected piecewise")
        return
    if not boundaries or len(boundaries) != len(factors):
        raise ValueError(
            f"boundaries: got {boundaries} with factors={factors}, expected at least one, and a factor for each"
        )
    if any(later <= earlier for earlier, later in itertools.pairwise((warmup_steps, *map(int, boundaries)))):
        raise ValueError(
            f"boundaries: got {boundaries}, expected steps after the {warmup_steps} of the warm-up, each later than "
            "the one before"
        )


def _constant(config: OptimizerConfig, rest: int) -> optax.Schedule:
    return optax.constant_schedule(config.learning_rate)


def _cosine(config: OptimizerConfig, rest: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(config.learning_rate, rest, config.final_fraction)


def _linear(config: OptimizerConfig, rest: int) -> optax.Schedule:
    return optax.linear_schedule(config.learning_rate, config.final_fraction * config.learning_rate, rest)


def _inverse_sqrt(config: OptimizerConfig, rest: int) -> optax.Schedule:
    warmup = max(int(config.warmup_steps), 1)
    return lambda count: config.learning_rate * jnp.sqrt(warmup / (warmup + jnp.maximum(count, 0)))


def _piecewise(config: OptimizerConfig, rest: int) -> optax.Schedule:
    after_warmup = [int(boundary) - int(config.warmup_steps) for boundary in config.boundaries]
    factors = dict(zip(after_warmup, config.factors, strict=True))
    return optax.piecewise_constant_schedule(config.learning_rate, factors)


COURSES: dict[str, Callable[[OptimizerConfig, int], optax.Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "inverse_sqrt": _inverse_sqrt,
    "piecewise": _piecewise,
    "plateau": _constant,
}
"""The schedules after the warm-up, as functions of the settings and of the number of steps after it."""


def _one_cycle(config: OptimizerConfig, warmup_steps: int, steps: int) -> optax.Schedule:
    if warmup_steps == steps:
        raise ValueError(
            f"warmup_steps: got {warmup_steps} with schedule=one_cycle, expected less than {steps}"
        )
    share = warmup_steps / steps if warmup_steps else RISE
    return optax.cosine_onecycle_schedule(steps, config.learning_rate, share)
