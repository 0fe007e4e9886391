"""The checkpoints of a run, written by Orbax in the background; the newest few and the best stay.

Every checkpoint contains the checksums of its files before it gets its name. A damaged checkpoint is never used and
never deleted: a run that goes on sets it aside, and a mode that only reads skips it.
"""

import contextlib
import errno
import functools
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dlcore.train.checkpoints.checksums import find_damage, write_checksums
from dlcore.train.checkpoints.folder import newest_whole, saved_steps, set_aside_damaged
from dlcore.train.checkpoints.restore import restore_fields, restore_state
from dlcore.train.config import CheckpointConfig

Tree = TypeVar("Tree")

# Orbax moves surplus checkpoints here by one rename: a checkpoint is whole or gone, whenever the process is killed.
DISCARDED = "discarded"
UNFINISHED = ".orbax-checkpoint-tmp"  # the end of a checkpoint's name while Orbax writes it

# The errors of a disk that takes no more; Orbax passes some of them on only as text.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)


class CheckpointError(OSError):
    """A checkpoint could not be written; ``errno`` says why, and the message says which checkpoint is left."""

    def __str__(self) -> str:
        return self.strerror or ""


class Checkpoints:
    """The checkpoints in a folder, at most one for each step; a context manager that calls `close` at its end.

    Args:
        folder: where the checkpoints are; it is made when the first one is written.
        config: its ``keep`` says how many of the newest checkpoints stay; the best one stays too.
        best: the evaluation metric that ranks them.
        lower_is_better: True if the smallest value of that metric is the best.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, best: str, lower_is_better: bool = False):
        self.folder, self._config = folder.absolute(), config
        self._best_metric, self._lower_is_better = best, lower_is_better
        self._writing: int | None = None

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's manager. It is made only when something is written, since it fails if it finds damage."""
        keep = AnyPreservationPolicy([LatestN(self._config.keep), BestN(get_metric_fn=self._rank, n=1)])
        options = ocp.CheckpointManagerOptions(
            best_fn=self._rank,
            preservation_policy=keep,
            create=False,
            todelete_subdir=DISCARDED,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_checksums),
        )
        return ocp.CheckpointManager(self.folder, options=options)

    @property
    def _has_manager(self) -> bool:
        return "_manager" in vars(self)

    def _write_checksums(self) -> None:
        """Orbax calls this in one process, after all is written and before the folder gets its name."""
        write_checksums(self.folder / f"{self._writing}{UNFINISHED}")

    def _rank(self, metrics: Mapping[str, float]) -> float:
        value = metrics.get(self._best_metric, math.nan)  # missing if it was saved between two evaluations
        if math.isnan(value):
            return -math.inf
        return -value if self._lower_is_better else value

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        try:
            self.close()
        except CheckpointError:
            if not isinstance(error, CheckpointError):  # that one said the same already
                raise

    def close(self) -> None:
        """Waits for the last write and ends Orbax's threads; does nothing if nothing was written.

        Raises:
            CheckpointError: the disk failed in the last write.
        """
        if not self._has_manager:
            return
        try:
            with self._disk_errors_named():
                self._manager.close()
        except Exception:
            # Orbax stops at the failure that it reports; only a second call ends its threads.
            with contextlib.suppress(Exception):
                self._manager.close()
            raise
        self._delete_discarded()

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint, also if it is damaged or still being written; None if there is none."""
        if self._has_manager:
            return self._manager.latest_step()
        return max(saved_steps(self.folder), default=None)

    def set_aside_damaged(self) -> int | None:
        """Sets all damaged checkpoints aside, see `folder.set_aside_damaged`.

        If there are several processes, all must call it; the first one moves the folders.

        Returns:
            The newest step that stays, the same in all processes; None if none stays.

        Raises:
            CheckpointError: a write was in progress, and the disk failed.
        """
        if self._has_manager:
            with self._disk_errors_named():
                self._manager.wait_until_finished()
        if jax.process_count() > 1:  # nobody may write or list the folder while the first process moves
            multihost_utils.sync_global_devices("Checkpoints.set_aside_damaged")
        self._delete_discarded()
        newest = set_aside_damaged(self.folder) if jax.process_index() == 0 else None
        if jax.process_count() > 1:
            told = multihost_utils.broadcast_one_to_all(np.int32(-1 if newest is None else newest))
            newest = None if told < 0 else int(told)
        if self._has_manager:
            self._manager.reload()
        return newest

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None) -> None:
        """Waits for the previous write, then starts to write this state in the background.

        On return, the state may be donated to the next step.

        Args:
            step: the training step; nothing is written if there is a checkpoint of this or a later step. If the newest
                one is of this step, `save` returns at once.
            state: a tree of arrays.
            metrics: the evaluation at this step, which ranks the checkpoints; None if there was none.

        Raises:
            CheckpointError: the disk failed in the previous write or at the start of this one.
        """
        if step == self.newest:
            return
        with self._disk_errors_named():
            self._manager.wait_until_finished()
        self._delete_discarded()
        self._writing = step
        with self._disk_errors_named():
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=dict(metrics or {}))

    def _delete_discarded(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / DISCARDED, ignore_errors=True)

    @contextlib.contextmanager
    def _disk_errors_named(self) -> Iterator[None]:
        """Raises CheckpointError in place of the error that a failed disk made Orbax raise."""
        try:
            yield
        except Exception as error:
            error_code = _disk_error(error)
            if error_code is None:
                raise
            raise CheckpointError(error_code, self._failure(error_code)) from error

    def _failure(self, error_code: int) -> str:
        full = error_code in (errno.ENOSPC, errno.EDQUOT)
        problem, mend = ("the disk is full", "free space") if full else ("the disk failed", "mend it")
        whole = newest_whole(self.folder)
        left = (
            "there is no good checkpoint" if whole is None else f"the last good checkpoint is of step {whole}"
        )
        return (
            f"{problem} ({os.strerror(error_code)}): step {self._writing} was not saved, {left} in {self.folder}; "
            f"{mend} and start again"
        )

    def find_step(self, which: int | str) -> int:
        """The step, an integer, of a checkpoint to read; damaged checkpoints are not moved.

        ``"newest"`` skips damaged checkpoints, and a line on stderr names each.

        Args:
            which: a step (a number or its text), ``"newest"``, or ``"best"``, which means the newest of those with the
                best metric.

        Raises:
            FileNotFoundError: there is no such checkpoint; for ``"best"``: none was evaluated.
            ValueError: ``which`` is something else, or the checkpoint is damaged.
        """
        if not re.fullmatch(r"newest|best|[0-9]+", str(which)):
            raise ValueError(
                f"--checkpoint: got {which!r}, expected newest, best or a step; --mode=gradient_flow knows initial "
                "and all, too"
            )
        found = self._find(str(which))
        saved = saved_steps(self.folder)
        if found not in saved:
            damaged = ", all of them damaged" if which == "newest" else ""
            listed = f"steps {', '.join(map(str, saved))}{damaged}" if saved else "no checkpoint; train first"
            raise FileNotFoundError(f"--checkpoint: got {which}, but {self.folder} has {listed}")
        if which != "newest":
            self._check_whole(found)
        return found

    def _find(self, which: str) -> int | None:
        if which == "newest":
            return newest_whole(self.folder)
        return self._best() if which == "best" else int(which)

    def _best(self) -> int | None:
        metrics = {step: self._metrics(step) for step in saved_steps(self.folder)}
        values = {step: found.get(self._best_metric, math.nan) for step, found in metrics.items()}
        evaluated = [step for step, value in values.items() if not math.isnan(value)]
        return max(evaluated, key=lambda step: (self._rank(metrics[step]), step), default=None)

    def _metrics(self, step: int) -> dict[str, float]:
        try:
            return json.loads((self.folder / str(step) / "metrics" / "metrics").read_text())
        except (OSError, ValueError):
            self._check_whole(step)
            raise

    def _check_whole(self, step: int) -> None:
        damage = find_damage(self.folder / str(step))
        if damage is not None:
            raise ValueError(f"{self.folder / str(step)}: damaged ({damage}); choose another --checkpoint")

    def restore(self, target: Tree, step: int) -> Tree:
        """Reads the whole state of a step, with the types, shapes and placement of ``target``: see `restore_state`.

        Args:
            target: as in `restore_state`.
            step: the step of the checkpoint.

        Raises:
            ValueError: as in `restore_state`.
        """
        return restore_state(self.folder / str(step), target)

    def restore_fields(self, target: Tree, step: int) -> Tree:
        """Reads the fields of a step's state that ``target`` has, for instance all but the optimizer's.

        Args:
            target: a dict of fields of the state, or a dataclass with just those fields; its leaves are as for
                `restore`.
            step: the step of the checkpoint.

        Raises:
            ValueError: as in `restore_state`.
        """
        return restore_fields(self.folder / str(step), target)


def _disk_error(error: BaseException | None) -> int | None:
    """The number of the disk's error that caused an exception, found by type or by text; None for another cause."""
    while error is not None:
        for error_code in DISK_ERRORS:
            if os.strerror(error_code) in str(error):
                return error_code
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
