"""A run's folder: its files, its lock, and the check that a run may continue in it.

A folder belongs to one run and, while it trains, to one process. A run that is started again in its folder continues
only with the settings it began with, so that nothing is overwritten silently.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from dlcore.config import settings
from dlcore.config.files import read_config, to_dict
from dlcore.training.checkpoints.folder import DAMAGED, newest_whole, saved_steps
from dlcore.training.checkpoints.location import checkpoints_path, write_whole
from dlcore.training.optimizers.config import CUSTOM
from dlcore.training.optimizers.schedules import follows_length
from dlcore.training.origin import ORIGIN, read_origin, write_origin
from dlcore.training.run import Run
from dlcore.training.run_config import resolve_config
from dlcore.training.run_files import check_run_files, write_run_files
from dlcore.training.telemetry.metrics_log import read_metrics
from dlcore.utils.files import to_json, write_json
from dlcore.utils.locks import lock_file, open_lock
from dlcore.utils.run_paths import CHECKPOINTS, CONFIG, LAUNCH, LOCK, RESULT, TABLE

FOLDERS = (
    *(CHECKPOINTS, DAMAGED, "events", "figures", "generated", "gradient_flow", LAUNCH),
    *("nonfinite", "profile"),
)
FILES = (CONFIG, ORIGIN, RESULT, LOCK, TABLE)


@contextlib.contextmanager
def claim_folder(run: Run) -> Iterator[None]:
    """A context manager that locks the run's folder and writes ``config.json``, ``experiment.json`` and its files.

    The lock ends with the block. In a job of several processes, the first one holds the lock for all of them.

    Raises:
        ValueError: the folder holds checkpoints of a run with other settings or other `Experiment.files`, a damaged
            ``config.json``, ``metrics.csv`` or ``experiment.json``, files but no ``config.json``, or a link as its
            lock. `config.settings.setting` says which settings may differ; the number of steps may not if the learning
            rate of each step depends on it, see `optimizers.schedules.follows_length`. Durations are compared in
            steps, and a setting that ``config.json`` lacks has its default. Checkpoints that are elsewhere have their
            own ``config.json``, so that a run whose folder is lost goes on with the same settings.
        NotADirectoryError: a file is in the place of the folder or of a folder in it.
        IsADirectoryError: a folder is in the place of a file in it.
        BlockingIOError: another process or thread trains in the folder.
    """
    if jax.process_index() > 0:
        multihost_utils.sync_global_devices(str(run.folder))
        yield
        return
    check_folder(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    with open_lock(run.folder / LOCK) as lock:
        lock_file(
            lock,
            f"{run.folder}: another process or thread trains in this folder; wait until it ends, stop it, or choose "
            "another folder",
        )
        check_folder(run)  # another process may have trained here since the check above
        _write_config(run)
        write_run_files(run.folder, run.experiment.files)
        write_origin(run.folder, run.build, run.config)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(str(run.folder))
        yield


def _write_config(run: Run) -> None:
    """Writes ``config.json`` into the run's folder, and beside checkpoints that are elsewhere, which may outlive it."""
    write_json(run.folder / CONFIG, to_dict(run.config))
    if run.config.checkpoint.folder is not None:
        folder = checkpoints_path(run.folder, run.config.checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CONFIG, to_json(to_dict(run.config), indent=2) + "\n")


def check_folder(run: Run) -> None:
    """Checks that the run can start or continue in its folder; changes nothing, and does not look at the lock.

    Raises:
        ValueError, NotADirectoryError, IsADirectoryError: as in `claim_folder`.
    """
    check_kinds(run.folder)
    if (run.folder / CONFIG).is_file():
        _check_stored(run, run.folder / CONFIG)
        read_metrics(run.folder / TABLE)
        read_origin(run.folder)
    else:
        check_unused(run.folder)
    if run.config.checkpoint.folder is not None:
        _check_checkpoints_elsewhere(run)


def _check_stored(run: Run, path: Path) -> None:
    """Raises ValueError if the run may not continue from the checkpoints of the config in a file."""
    stored = read_config(type(run.config)(), path, "config.json", whole=True)
    # Without a checkpoint, other settings lose nothing.
    if saved_steps(checkpoints_path(run.folder, stored.checkpoint)):
        _check_same_settings(run, stored)
        check_run_files(run.folder, run.experiment.files)


def _check_checkpoints_elsewhere(run: Run) -> None:
    """Raises ValueError if the checkpoints outside of the run's folder, which may be lost, are those of another run."""
    folder = checkpoints_path(run.folder, run.config.checkpoint)
    if (folder / CONFIG).is_file():
        _check_stored(run, folder / CONFIG)
    elif saved_steps(folder):
        raise ValueError(
            f"--config.checkpoint.folder: got {folder}, which holds checkpoints but no {CONFIG} of their run; choose "
            "another folder"
        )


def check_kinds(folder: Path) -> None:
    """Checks that no file is in the place of a folder of a run, and no folder in the place of a file.

    Args:
        folder: the run's folder, which need not exist.

    Raises:
        NotADirectoryError, IsADirectoryError: as in `claim_folder`.
    """
    mend = "move it elsewhere, or choose another folder"
    for path in (folder, *(folder / name for name in FOLDERS)):
        if (path.exists() or path.is_symlink()) and not path.is_dir():
            raise NotADirectoryError(f"{path}: got a file, expected a folder of the run; {mend}")
    for path in (folder / name for name in FILES):
        if path.is_dir():
            raise IsADirectoryError(f"{path}: got a folder, expected a file of the run; {mend}")


def check_writable(folder: Path) -> None:
    """Checks that this process may make the folder, or write into it; makes nothing.

    Raises:
        NotADirectoryError: a file is in the place of a folder above it.
        PermissionError: this user may not write there.
    """
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


def check_unused(folder: Path) -> None:
    """Checks that a folder without a ``config.json`` may become a run's folder: it is empty or does not exist.

    Raises:
        ValueError: the folder holds anything but the file ``.lock`` and the folder ``launch``, which a launcher makes.
    """
    if folder.exists() and {entry.name for entry in folder.iterdir()} - {LOCK, LAUNCH}:
        raise ValueError(f"{folder}: holds files but no {CONFIG}, so it is no run's folder; choose another")


def finished_result(run: Run) -> Mapping[str, Any] | None:
    """The dict in ``result.json`` of a finished run; None if the run is not finished.

    A run is finished if its result is that of its newest whole checkpoint, and that checkpoint is of the config's last
    step or of the step after which a callback stopped the run.
    """
    try:
        result = json.loads((run.folder / RESULT).read_text())
        last, stopped = result["steps"], result.get("stopped")
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # a damaged result is written anew, as a missing one
    ended = stopped is not None or last == run.engine.config.train.steps
    checkpoints = checkpoints_path(run.folder, run.config.checkpoint)
    return result if ended and last == newest_whole(checkpoints) else None


def _check_same_settings(run: Run, stored: Any) -> None:
    """Raises ValueError unless the run may continue what was trained with the ``stored`` config."""
    shown = zip(settings.leaves(stored), settings.leaves(run.config), strict=True)
    before, now = (resolve_config(config, run.experiment) for config in (stored, run.config))
    in_steps = zip(settings.leaves(before), settings.leaves(now), strict=True)
    other = [
        _difference(new, old, now_in_steps, before_in_steps)
        for (old, new), (before_in_steps, now_in_steps) in zip(shown, in_steps, strict=True)
        if not _may_differ(before_in_steps, now_in_steps)
    ]
    if other:
        raise ValueError(
            f"{run.folder}: holds a run with other settings: {', '.join(other)}; "
            "choose another folder, or leave these settings as they were to continue it"
        )
    optimizer = run.config.optimizer
    if follows_length(optimizer) and before.train.steps != now.train.steps:
        reason = (
            "an optimizer of the experiment's own, which gets the number of steps and may depend on it"
            if optimizer.name == CUSTOM
            else f"a {optimizer.schedule} schedule, in which the number of steps determines the learning rate of each "
            "step"
        )
        raise ValueError(
            f"--config.train.steps: got {run.config.train.steps} (was {stored.train.steps}) with {reason}; choose "
            "another folder"
        )


def _difference(
    new: settings.Leaf, old: settings.Leaf, new_in_steps: settings.Leaf, old_in_steps: settings.Leaf
) -> str:
    """What a setting is and was; in steps if it is the same duration of a run of another length."""
    if new.value == old.value:
        return (
            f"{new.flag}={new.text} is {new_in_steps.text} steps (was {old_in_steps.text}; "
            f"{new.flag}={old_in_steps.text} keeps them)"
        )
    return f"{new.flag}={new.text} (was {old.text})"


def _may_differ(old: settings.Leaf, new: settings.Leaf) -> bool:
    """True if a run may continue with the new value; durations must be numbers of steps in both."""
    return new.may_change or new.value == old.value or (new.may_grow and new.value > old.value)
