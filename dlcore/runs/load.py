"""Loads the trained model of a run from the run's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from dlcore.config.files import read_config
from dlcore.runs.build import make_run
from dlcore.runs.model import TrainedModel
from dlcore.runs.train import Trained
from dlcore.training.config import Config
from dlcore.training.experiment import Experiment
from dlcore.training.origin import ORIGIN, find_by_name, read_origin
from dlcore.training.run_folder import CONFIG
from dlcore.utils.checks import shown
from dlcore.utils.files import user_path


def load(
    folder: str | Path,
    checkpoint: int | Literal["best", "newest"] = "best",
    *,
    experiment: Experiment | Callable[[Any], Experiment] | None = None,
    config: type[Config] | Config | None = None,
) -> TrainedModel:
    """The trained model in a run's folder; the folder is only read.

    The folder knows the names of the experiment's function and config class, if they can be imported: ``experiment``
    and ``config`` are for old folders, for an experiment that was given as an object, and for code that moved. The
    experiment is built, so its data must be there.

    Args:
        folder: the run's folder.
        checkpoint: ``"best"``, the one with the best evaluation; ``"newest"``; or a step.
        experiment: the experiment, or the function ``experiment(config)``; None: the one that the folder names.
        config: the config's class, with which ``config.json`` is read; None: the one that the folder names. A config
            itself is used in place of ``config.json``.

    Returns:
        A `TrainedModel`.

    Raises:
        FileNotFoundError: there is no such checkpoint, and for ``"best"``: none was evaluated.
        ValueError: the folder holds no run, does not name its experiment, or names one that cannot be imported; the
            checkpoint is damaged or does not fit the model.
        TypeError: an argument has another type.
    """
    path = user_path("folder", folder)
    if not (path / CONFIG).is_file():
        raise ValueError(f"folder: got {str(path)!r} without {CONFIG}, expected the folder of a run")
    found_config = _config(path, config)
    build = experiment if experiment is not None else _recorded(path, "experiment")
    run = make_run(build, found_config, path, checkpoint=checkpoint)
    from dlcore.training import loop

    return TrainedModel(run, loop.restore_model(run))


def _config(folder: Path, config: Any) -> Config:
    if isinstance(config, Config):
        return config
    config_class = _recorded(folder, "config") if config is None else config
    if not (isinstance(config_class, type) and issubclass(config_class, Config)):
        raise TypeError(
            f"config: got {shown(config_class)}, expected a class derived from dl.Config, or a config"
        )
    return read_config(config_class(), folder / CONFIG, "folder", whole=True)


def _recorded(folder: Path, what: str) -> Any:
    """The experiment's function or the config class that the folder names."""
    name = read_origin(folder).get(what)
    if name is None:
        raise ValueError(
            f"{what}: got none, and {folder / ORIGIN} does not name it; expected load(..., {what}=...)"
        )
    try:
        return find_by_name(name)
    except ImportError as error:
        raise ValueError(
            f"{what}: got none, and {name}, which made the run in {folder}, is not found here ({error}); expected a "
            "process that can import it, or load(..., experiment=..., config=...)"
        ) from error


def as_model(model: Any) -> TrainedModel:
    """The model that a caller means: a `TrainedModel`, that of a `Trained`, or the best one in a run's folder.

    Raises:
        TypeError: it is something else.
        ValueError, FileNotFoundError: as in `load`.
    """
    if isinstance(model, Trained):
        return model.model
    if isinstance(model, TrainedModel):
        return model
    if isinstance(model, str | Path):
        return load(model)
    raise TypeError(
        f"model: got {shown(model)}, expected what dl.train or dl.load returned, or the folder of a run"
    )
