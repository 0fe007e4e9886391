"""The settings of the optimizer."""

from dataclasses import dataclass
from typing import Literal

from dlcore.config.durations import Duration
from dlcore.config.settings import Settings, setting
from dlcore.utils.checks import check_instance
from dlcore.utils.patterns import check_pattern

CUSTOM = "custom"
"""The name of an optimizer that is the experiment's own."""


class PathPattern(str):
    """A regular expression on the paths of parameters, as checked text; a subclass of ``str``.

    Raises:
        TypeError: the argument is no text.
        ValueError: it is empty or no regular expression.
    """

    expected = "a regular expression"

    def __new__(cls, text: str) -> "PathPattern":
        check_instance("pattern", text, str, "text")
        if not text:
            raise ValueError("pattern: got '', expected a regular expression, such as ^encoder/")
        check_pattern("pattern", text)
        return super().__new__(cls, text)


class PathFactor(str):
    """A factor of the learning rate of some parameters, as checked text ``PATTERN=FACTOR``; a subclass of ``str``.

    Attributes:
        pattern: a regular expression on the paths of parameters.
        factor: a number > 0.

    Raises:
        TypeError: the argument is no text.
        ValueError: the text has another form, the pattern is no regular expression, or the factor is not > 0.

    >>> rate = PathFactor("^encoder/=0.1")
    >>> rate.pattern, rate.factor
    ('^encoder/', 0.1)
    """

    expected = "a regular expression, = and a number > 0, such as ^encoder/=0.1"

    pattern: str
    factor: float

    def __new__(cls, text: str) -> "PathFactor":
        check_instance("rates", text, str, "text such as ^encoder/=0.1")
        pattern, _, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = 0.0
        if not pattern or not 2.0**-126 <= factor < 2.0**127:  # float32 holds it
            raise ValueError(f"rates: got {text!r}, expected {cls.expected}")
        check_pattern("rates", pattern)
        rate = super().__new__(cls, text)
        rate.pattern, rate.factor = pattern, factor
        return rate


@dataclass
class OptimizerConfig(Settings):
    """The update rule and its step size."""

    name: Literal[
        "sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "nadamw", "radam", "adamax", "amsgrad", "adabelief",
        "adagrad", "rmsprop", "adafactor", "lion", "lamb", "lars", "muon", "custom",
    ] = setting("adam", "Update rule. custom: the experiment has an optimizer of its own.")  # fmt: skip
    learning_rate: float = setting(1e-3, "Largest learning rate of the run.", minimum=0)
    schedule: Literal["constant", "cosine", "linear", "one_cycle", "inverse_sqrt", "piecewise", "plateau"] = (
        setting(
            "constant",
            "Course of the learning rate after the warm-up. cosine, linear: down to final_fraction of it at the last "
            "step. one_cycle: up and down in two halves of a cosine; it has its own warm-up, of 30% of the run if "
            "warmup_steps is 0. inverse_sqrt: falls as 1 / sqrt(step). piecewise: is multiplied by factors at "
            "boundaries. plateau: is multiplied by plateau_factor when the training loss stops falling.",
        )
    )
    warmup_steps: int | Duration = setting(
        0, "Steps in which the learning rate rises linearly from 0 to learning_rate.", minimum=0
    )
    momentum: float = setting(
        0.9,
        "Decay of the running mean of gradients: of momentum, nesterov, lars and muon; b1 of the rules like adam, of "
        "lion and of lamb.",
        minimum=0,
        below=1,
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay of kernels, not of biases and norms. Decoupled for adamw, nadamw, lion, lamb and muon (there of "
        "the matrices that muon updates); L2 for the other rules.",
        minimum=0,
    )
    clip_norm: float | None = setting(
        None, "Clip the gradient to this global norm; none: measure the norm, clip nothing.", above=0
    )
    b2: float | None = setting(
        None,
        "Decay of the running mean of squared gradients of the rules like adam, of lamb and rmsprop; of lion the decay "
        "of its momentum. none: what optax has for the rule.",
        minimum=0,
        below=1,
    )
    eps: float | None = setting(
        None,
        "What the rules like adam, lamb, rmsprop and adagrad add to the root of squared gradients; none: what optax "
        "has for the rule.",
        above=0,
    )
    final_fraction: float = setting(
        0.0, "Share of learning_rate at the last step of cosine and linear.", minimum=0, maximum=1
    )
    boundaries: tuple[int | Duration, ...] = setting(
        (), "For piecewise: the steps from which on the learning rate is multiplied.", minimum=1
    )
    factors: tuple[float, ...] = setting((), "For piecewise: the factor at each of the boundaries.", above=0)
    plateau_window: int | Duration = setting(
        100, "For plateau: number of updates whose losses are averaged before they are compared.", minimum=1
    )
    plateau_patience: int = setting(
        5,
        "For plateau: number of windows without a new lowest loss (by 0.01%) after which the learning rate falls.",
        minimum=1,
    )
    plateau_factor: float = setting(0.1, "For plateau: factor of the learning rate.", above=0, below=1)
    frozen: tuple[PathPattern, ...] = setting(
        (), "Parameters whose path one of these finds are not trained, and their gradients count in no norm."
    )
    rates: tuple[PathFactor, ...] = setting(
        (),
        "PATTERN=FACTOR: the learning rate of parameters whose path the pattern finds is multiplied; the first one "
        "counts.",
    )
