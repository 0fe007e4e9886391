"""The learning rates that the last update used, read from the optimizer state."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore.training.optimizers.config import OptimizerConfig
from dlcore.training.optimizers.schedules import make_schedule

NAME = "learning_rate"


def used_rates(config: OptimizerConfig, steps: int) -> Callable[[optax.OptState], dict[str, jax.Array]]:
    """A function from the state of `make.make_optimizer` to the learning rates of its last update.

    These are a scalar ``learning_rate``, and ``learning_rate/PATTERN`` for each of ``config.rates``. They follow from
    the number of updates in the state, so steps that were left out do not count. Before the first update they are
    those of the first one.

    Args:
        config: the settings with which the optimizer was made.
        steps: the number of steps in the run.
    """
    schedule = make_schedule(config, steps)

    def rates(opt_state: optax.OptState) -> dict[str, jax.Array]:
        _, state = optax.tree.get_all_with_path(opt_state, "ScaleByScheduleState")[0]
        rate = schedule(jnp.maximum(state.count - 1, 0)) * _plateau_scale(opt_state, ())
        return {NAME: rate, **{f"{NAME}/{part.pattern}": part.factor * rate for part in config.rates}}

    return rates


def shown_rates(opt_state: optax.OptState) -> dict[str, jax.Array]:
    """The learning rates that the state of any optimizer shows: scalars by name.

    ``optax.inject_hyperparams`` puts the argument ``learning_rate`` of an optimizer into its state, and a line search
    has a field of this name. What ``optax.contrib.reduce_on_plateau`` multiplies the update by is part of the result. A
    single learning rate is called ``learning_rate``. Each of several has the label of its part of an
    ``optax.partition``, ``learning_rate/LABEL``; if labels do not tell them apart, they are numbered,
    ``learning_rate/0``. An optimizer that shows none has none.

    >>> optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.5)
    >>> {name: float(rate) for name, rate in shown_rates(optimizer.init({"kernel": 0.0})).items()}
    {'learning_rate': 0.5}
    """
    found = optax.tree.get_all_with_path(opt_state, NAME, filtering=_is_used)
    names = ["/".join((NAME, *_labels(path))) for path, _ in found]
    if len(found) == 1:
        names = [NAME]
    elif len(set(names)) < len(names) or NAME in names:
        names = [f"{NAME}/{place}" for place in range(len(names))]
    # Copies, since the run's next call takes the buffers of the state.
    rates = [jnp.copy(rate) * _plateau_scale(opt_state, _labels(path)) for path, rate in found]
    return dict(zip(names, rates, strict=True))


def _is_used(path: tuple[Any, ...], value: Any) -> bool:
    """True for a scalar field of a state or a hyperparameter, but for no parameter and no state of a schedule."""
    hyperparameter = (
        isinstance(path[-1], jax.tree_util.DictKey) and path[-2:-1] and _field(path[-2]) == "hyperparams"
    )
    return bool(hyperparameter or _field(path[-1]) == NAME) and getattr(value, "shape", None) == ()


def _field(key: Any) -> str | None:
    """The name of a field of a NamedTuple; None if the key is another one."""
    return key.name if isinstance(key, optax.tree_utils.NamedTupleKey) else None


def _labels(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The labels of the partitions around a part of an optimizer state, from the outermost."""
    return tuple(
        jax.tree_util.keystr((label,), simple=True)
        for key, label in itertools.pairwise(path)
        if _field(key) == "inner_states"
    )


def _plateau_scale(opt_state: optax.OptState, labels: tuple[str, ...]) -> jax.Array | float:
    """The product of what every `optax.contrib.reduce_on_plateau` multiplies the updates of a part by."""
    states = optax.tree.get_all_with_path(opt_state, "ReduceLROnPlateauState")
    around = [state.scale for path, state in states if _labels(path) == labels[: len(_labels(path))]]
    return math.prod(around)
