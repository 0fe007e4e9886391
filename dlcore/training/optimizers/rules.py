"""The update rules that a config can name: one table of optax's constructors and their arguments."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from dlcore.training.optimizers.config import OptimizerConfig
from dlcore.training.optimizers.decay import is_decayed, is_kernel, name_of
from dlcore.training.optimizers.schedules import make_schedule
from dlcore.utils.checks import check_choice, check_instance


class Rule(NamedTuple):
    """An update rule.

    Attributes:
        make: optax's constructor; its first argument is the learning rate.
        arguments: what ``make`` calls a setting -> the setting.
        decay_mask: what ``make`` calls the mask of its decoupled weight decay; None if it has no such decay.
    """

    make: Callable[..., optax.GradientTransformation]
    arguments: Mapping[str, str] = {}
    decay_mask: str | None = None


def _matrices(params: optax.Params) -> Any:
    """For `optax.contrib.muon`: the axes of each kernel that is a matrix, and None for every other parameter."""

    def axes(path: Any, leaf: jax.Array) -> Any:
        name = name_of(path)
        multiplies = is_kernel(name) is not False and not name.endswith("embedding")
        return optax.contrib.MuonDimensionNumbers() if multiplies and leaf.ndim == 2 else None

    return jax.tree_util.tree_map_with_path(axes, params)


ADAM = {"b1": "momentum", "b2": "b2", "eps": "eps"}
RULES = {
    "sgd": Rule(optax.sgd),
    "momentum": Rule(optax.sgd, {"momentum": "momentum"}),
    "nesterov": Rule(functools.partial(optax.sgd, nesterov=True), {"momentum": "momentum"}),
    "adam": Rule(optax.adam, ADAM),
    "adamw": Rule(optax.adamw, ADAM, "mask"),
    "nadam": Rule(optax.nadam, ADAM),
    "nadamw": Rule(optax.nadamw, ADAM, "mask"),
    "radam": Rule(optax.radam, ADAM),
    "adamax": Rule(optax.adamax, ADAM),
    "amsgrad": Rule(optax.amsgrad, ADAM),
    "adabelief": Rule(optax.adabelief, ADAM),
    "adagrad": Rule(optax.adagrad, {"eps": "eps"}),
    "rmsprop": Rule(optax.rmsprop, {"decay": "b2", "eps": "eps"}),
    "adafactor": Rule(optax.adafactor),
    "lion": Rule(optax.lion, {"b1": "momentum", "b2": "b2"}, "mask"),
    "lamb": Rule(optax.lamb, ADAM, "mask"),
    "lars": Rule(functools.partial(optax.lars, trust_ratio_mask=is_decayed), {"momentum": "momentum"}),
    "muon": Rule(
        functools.partial(optax.contrib.muon, muon_weight_dimension_numbers=_matrices),
        {"beta": "momentum", "adam_b1": "momentum", "adam_b2": "b2"},
        "weight_decay_mask",
    ),
}
"""The update rules by name. ``muon`` updates kernels that are matrices, and all other parameters by nadam."""


def make_rule(name: str, config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """An update rule of dlcore with weight decay and schedule, for an optimizer of your own.

    Its state shows the learning rate (``optax.inject_hyperparams``), so that the run logs it. There is no clipping in
    it: the run itself clips.

    Args:
        name: the rule, as for ``--config.optimizer.name``.
        config: all other settings; ``name``, ``clip_norm``, ``frozen`` and ``rates`` are not used.
        steps: the number of steps in the run.

    Raises:
        ValueError: there is no such rule, it has no ``b2`` or ``eps`` and one is given, or as in `make_schedule`.

    >>> rule = make_rule("lion", OptimizerConfig(learning_rate=0.25), steps=100)
    >>> params = {"kernel": 0.0}
    >>> updates, _ = rule.update({"kernel": 3.0}, rule.init(params), params)
    >>> float(updates["kernel"])
    -0.25
    """
    schedule = make_schedule(config, steps)
    check_choice("name", name, tuple(RULES))
    _check_settings(name, config)
    rule = optax.inject_hyperparams(functools.partial(_with_decay, name, config))
    return optax.chain(rule(learning_rate=schedule), *plateau(config))


def scheduled_rule(config: OptimizerConfig, steps: int) -> tuple[optax.GradientTransformation, ...]:
    """The transformations of the rule ``config.name``, whose state counts updates but does not show the learning rate.

    The state is as in checkpoints of earlier versions, which `make_rule` has not.

    Raises:
        ValueError: as in `make_rule`.
    """
    check_instance("config", config, OptimizerConfig, "a dl.OptimizerConfig")
    if config.name not in RULES:
        raise ValueError(
            f"--config.optimizer.name: got {config.name}, but the experiment has no optimizer of its own; expected one "
            f"of {', '.join(RULES)}"
        )
    _check_settings(config.name, config)
    schedule = make_schedule(config, steps)
    return *_parts(config.name, config, schedule), *plateau(config)


def plateau(config: OptimizerConfig) -> tuple[optax.GradientTransformation, ...]:
    """What reduces the learning rate when the loss stops falling, if ``config.schedule`` is ``plateau``; else nothing.

    The mean loss of each window of ``plateau_window`` updates is compared with the lowest one so far.
    """
    if config.schedule != "plateau":
        return ()
    return (
        optax.contrib.reduce_on_plateau(
            config.plateau_factor,
            config.plateau_patience,
            accumulation_size=int(config.plateau_window),
        ),
    )


def _check_settings(name: str, config: OptimizerConfig) -> None:
    for setting in ("b2", "eps"):
        value = getattr(config, setting)
        if value is not None and setting not in RULES[name].arguments.values():
            raise ValueError(f"{setting}: got {value} with name={name}, expected none")


def _with_decay(
    name: str, config: OptimizerConfig, learning_rate: optax.ScalarOrSchedule
) -> optax.GradientTransformation:
    return optax.chain(*_parts(name, config, learning_rate))


def _parts(
    name: str, config: OptimizerConfig, learning_rate: optax.ScalarOrSchedule
) -> tuple[optax.GradientTransformation, ...]:
    """L2 weight decay if the rule has no decoupled one, and the rule."""
    rule = RULES[name]
    arguments = {argument: getattr(config, setting) for argument, setting in rule.arguments.items()}
    arguments = {argument: value for argument, value in arguments.items() if value is not None}
    if rule.decay_mask is not None:
        arguments |= {"weight_decay": config.weight_decay, rule.decay_mask: is_decayed}
    made = rule.make(learning_rate, **arguments)
    if config.weight_decay and rule.decay_mask is None:
        return optax.add_decayed_weights(config.weight_decay, is_decayed), made
    return (made,)
