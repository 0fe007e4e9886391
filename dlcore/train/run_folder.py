"""TODO."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from dlcore.config import settings
from dlcore.config.files import read_config, to_dict
from dlcore.train.checkpoints.folder import CHECKPOINTS, saved_steps
from dlcore.train.experiment import config_in_steps
from dlcore.train.run import Run
from dlcore.utils.files import write_json
from dlcore.utils.locks import lock_file

CONFIG = "config.json"


RESULT = "result.json"


LOCK = ".lock"


FOLDERS = (CHECKPOINTS, "events", "figures")


@contextlib.contextmanager
def claim_folder(run: Run) -> Iterator[None]:
    """The run's folder with its ``config.json``, which no other process has meanwhile.

    Raises:
        ValueError: the folder holds a run with other settings (see `config.setting` for those that may differ), or
            something that is no run.
        NotADirectoryError: there is a file in the place of the folder or of one in it.
        BlockingIOError: another process trains in it.
    """
    if jax.process_index() > 0:  # the first process has the lock, for all of them
        multihost_utils.sync_global_devices(str(run.folder))
        yield
        return
    check_folder(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOCK).open("w") as lock:
        lock_file(
            lock,
            f"{run.folder}: another process trains in this folder; wait for its end, stop it, or choose another "
            "--run name",
        )
        write_json(run.folder / CONFIG, to_dict(run.config))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(str(run.folder))
        yield


def check_folder(run: Run) -> None:
    """Raises as `claimed_folder` does where the folder is not for this run."""
    from dlcore.train.telemetry.metrics_log import read_metrics

    path = run.folder / CONFIG
    for folder in (run.folder, *(run.folder / name for name in FOLDERS)):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"{folder}: got a file, expected a folder of the run; move it elsewhere, or choose another --run name"
            )
    if path.is_file():
        stored = read_config(run.config, path, "config.json")
        if saved_steps(run.folder / CHECKPOINTS):  # else nothing is lost with other settings
            _check_same(run, stored)
        read_metrics(run.folder / "metrics.csv")
    else:
        check_unused(run.folder)


def check_unused(folder: Path) -> None:
    """ValueError where a folder without a config holds something else."""
    if folder.exists() and {entry.name for entry in folder.iterdir()} - {LOCK}:
        raise ValueError(f"{folder}: holds files but no {CONFIG}, so it is no run's folder; choose another")


def _check_same(run: Run, stored: Any) -> None:
    """ValueError unless the run may go on behind what was trained with the ``stored`` config."""
    before, now = (
        settings.leaves(config_in_steps(config, run.experiment)) for config in (stored, run.config)
    )
    shown = zip(settings.leaves(stored), settings.leaves(run.config), strict=True)
    other = [
        f"{new.flag}={new.text} (was {old.text})"
        for (old, new), old_steps, new_steps in zip(shown, before, now, strict=True)
        if new.value != old.value and not _may_differ(old_steps, new_steps)
    ]
    if other:
        raise ValueError(
            f"{run.folder}: holds a run with other settings: {', '.join(other)}; "
            "choose another --run name, or leave these flags away to go on with it"
        )
    if run.config.optimizer.schedule != "constant" and stored.train.steps != run.config.train.steps:
        raise ValueError(
            f"--config.train.steps: got {run.config.train.steps} (was {stored.train.steps}) with a "
            f"{run.config.optimizer.schedule} schedule, in which the number of steps decides the learning rate of "
            "each; choose another --run name"
        )


def _may_differ(old: settings.Leaf, new: settings.Leaf) -> bool:
    """Whether a run may go on with the new value, both with durations as steps."""
    return new.may_change or new.value == old.value or (new.may_grow and new.value > old.value)
