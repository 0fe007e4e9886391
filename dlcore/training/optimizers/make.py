"""The optimizer of a run: clipping and freezing, which are always dlcore's, around a rule or the user's optimizer."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import optax

from dlcore.training.config import Config
from dlcore.training.optimizers.by_path import freeze, scale_rates
from dlcore.training.optimizers.check import check_optimizer
from dlcore.training.optimizers.clipping import clip_and_measure
from dlcore.training.optimizers.config import OptimizerConfig
from dlcore.training.optimizers.rates import shown_rates, used_rates
from dlcore.training.optimizers.rules import scheduled_rule
from dlcore.utils.checks import shown

MakeOptimizer: TypeAlias = Callable[[Any, int], optax.GradientTransformation]
"""The function of an experiment with an optimizer of its own: ``optimizer(config, steps)``."""
ReadRates: TypeAlias = Callable[[optax.OptState], dict[str, jax.Array]]
"""A function from an optimizer state to learning rates by name."""


def choose_optimizer(
    make: MakeOptimizer | None, config: Config
) -> tuple[optax.GradientTransformation, ReadRates]:
    """The optimizer of a run, and the function that reads the learning rates of the last update from its state.

    Args:
        make: the function of an experiment with an optimizer of its own; None: the rule that the config names.
        config: the whole config; durations must be numbers of steps.

    Raises:
        TypeError, ValueError: as in `make_optimizer` or `wrap_optimizer`.
    """
    if make is not None:
        return wrap_optimizer(make, config), shown_rates
    steps = int(config.train.steps)
    return make_optimizer(config.optimizer, steps), used_rates(config.optimizer, steps)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The optax chain that a config describes.

    It is clipping, then L2 weight decay unless the rule has a decoupled one, then the update rule with the schedule's
    learning rate, then the factors ``config.rates``. It does not see parameters that ``config.frozen`` names.

    Args:
        config: the settings; durations must be numbers of steps.
        steps: the number of steps in the run.

    Raises:
        ValueError: there is no such rule, it has no ``b2`` or ``eps`` and one is given, or settings of the schedule do
            not fit each other, see `make_schedule`.
    """
    factors = [scale_rates(config.rates)] if config.rates else []
    return _clipped(config, *scheduled_rule(config, steps), *factors)


def wrap_optimizer(make: MakeOptimizer, config: Config) -> optax.GradientTransformation:
    """The optax chain of an optimizer of the experiment's own: clipping, then what ``make(config, steps)`` returns.

    It does not see parameters that ``config.optimizer.frozen`` names. Its ``init`` begins with `check_optimizer`.

    Args:
        make: the experiment's function.
        config: the whole config; durations must be numbers of steps.

    Raises:
        ValueError: ``config.optimizer.rates`` is given, which only a rule of dlcore has.
        TypeError: the function returns no optax transformation.
    """
    if config.optimizer.rates:
        raise ValueError(
            f"--config.optimizer.rates: got {','.join(config.optimizer.rates)} with an optimizer of the experiment's "
            "own, expected none; dl.optimizers.by_path has other learning rates for some parameters"
        )
    made = make(config, int(config.train.steps))
    if isinstance(made, optax.MultiSteps):  # the only optimizer of optax that is no transformation
        made = made.gradient_transformation()
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: got {shown(made)} returned, expected an optax transformation, such as optax.lion(1e-4)"
        )
    optimizer = _clipped(config.optimizer, made)

    def init(params: optax.Params) -> optax.OptState:
        check_optimizer(optimizer, params)
        return optimizer.init(params)

    return optax.GradientTransformationExtraArgs(init, optimizer.update)


def _clipped(
    config: OptimizerConfig, *transformations: optax.GradientTransformation
) -> optax.GradientTransformation:
    return freeze(optax.chain(clip_and_measure(config.clip_norm), *transformations), config.frozen)
