"""The config of a run, which depends on the experiment: durations in steps, and the name of the optimizer."""

from typing import TypeVar

from dlcore.config import durations, settings
from dlcore.data.batch import row_count
from dlcore.data.pipeline import batch_of
from dlcore.training.config import Config
from dlcore.training.experiment import Experiment
from dlcore.training.optimizers.config import CUSTOM
from dlcore.utils.checks import check_integer

C = TypeVar("C", bound=Config)


def with_optimizer_name(config: C, experiment: Experiment) -> C:
    """The config with ``optimizer.name`` = ``custom`` if the experiment has an optimizer of its own; else unchanged.

    Raises:
        ValueError: the experiment has an optimizer of its own, and the name is neither ``custom`` nor the default of
            the config's class, so that somebody chose a rule that would not be used.
    """
    name, default = config.optimizer.name, type(config)().optimizer.name
    if experiment.optimizer is None:
        return config
    if name not in (CUSTOM, default):
        raise ValueError(
            f"--config.optimizer.name: got {name}, but the experiment has an optimizer of its own; expected {CUSTOM}"
        )
    return settings.replace(config, {"optimizer.name": CUSTOM})


def resolve_config(config: C, experiment: Experiment) -> C:
    """A copy of the config in which every duration is a number of steps of the experiment's training data.

    Raises:
        ValueError: the data does not tell its number of examples, and a duration needs it; or a setting has another
            type or is out of its bounds.
    """
    data = experiment.train_data
    return durations.resolve_durations(
        config,
        batch_size=batch_size(experiment),
        examples=getattr(data, "examples", None),
    )


def batch_size(experiment: Experiment) -> int:
    """The number of rows of a training batch: the data's ``batch_size``, or else what the first batch has.

    Raises:
        TypeError, ValueError: the first batch is not a dict of arrays with the same number of rows.
    """
    declared = getattr(experiment.train_data, "batch_size", None)
    if declared is not None:
        return check_integer("train_data.batch_size", declared)
    return row_count(batch_of(experiment.train_data, 0, "train_data"), "train_data")
