"""Checkpoints of a run, on Orbax: written in the background, the newest few and the best kept.

Every checkpoint has the checksums of its files in it before it gets its name. One that is no longer whole is never
used and never deleted: a run that goes on sets it aside, and a mode that only reads steps over it.
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

# Where Orbax puts what is too many, in one rename: a checkpoint is whole or gone, whenever the process is killed.
DISCARDED = "discarded"
UNFINISHED = ".orbax-checkpoint-tmp"  # the end of a checkpoint's name while Orbax writes it

# What a disk says when it takes no more: Orbax passes some of it on as text only.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)


class CheckpointError(OSError):
    """A checkpoint could not be written; ``errno`` says why, and the message what is still there."""

    def __str__(self) -> str:
        return self.strerror or ""


class Checkpoints:
    """The checkpoints in a folder, one a step; a context manager that waits for the last write.

    Args:
        folder: where they are; made when the first is written.
        config: how many stay.
        best: the evaluation metric that ranks them.
        lower_is_better: whether the smallest value of it is the best.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, best: str, lower_is_better: bool = False):
        self.folder, self._config = folder.absolute(), config
        self._best_metric, self._lower_is_better = best, lower_is_better
        self._writing: int | None = None

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's; made when something is written, for it fails where it finds damage."""
        keep = AnyPreservationPolicy([LatestN(self._config.keep), BestN(get_metric_fn=self._rank, n=1)])
        options = ocp.CheckpointManagerOptions(
            best_fn=self._rank,
            preservation_policy=keep,
            create=False,
            todelete_subdir=DISCARDED,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_checksums),
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def _write_checksums(self) -> None:
        """Called by Orbax, in one process, when all is written and the folder has not got its name yet."""
        write_checksums(self.folder / f"{self._writing}{UNFINISHED}")

    def _rank(self, metrics: Mapping[str, float]) -> float:
        value = metrics.get(self._best_metric, math.nan)  # none where it was saved between two evaluations
        if math.isnan(value):
            return -math.inf
        return -value if self._lower_is_better else value

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        try:
            self.close()
        except CheckpointError:
            if not isinstance(error, CheckpointError):  # which had told it already
                raise

    def close(self) -> None:
        """Waits for the last write.

        Raises:
            CheckpointError: it failed.
        """
        if "_manager" not in vars(self):
            return
        try:
            with self._named_failure():
                self._manager.close()
        except Exception:
            # Orbax stops at the failure it tells; only the second call ends its threads.
            with contextlib.suppress(Exception):
                self._manager.close()
            raise
        self._delete_discarded()

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint, damaged or not; None where there is none."""
        if "_manager" in vars(self):
            return self._manager.latest_step()
        return max(saved_steps(self.folder), default=None)

    def newest_good(self) -> int | None:
        """The newest step whose checksums hold; all damaged checkpoints are set aside, each named on stderr.

        See `damage.set_aside`. In several processes the first one looks and tells the others.

        Raises:
            CheckpointError: a write was in progress and failed.
        """
        if "_manager" in vars(self):
            with self._named_failure():
                self._manager.wait_until_finished()
        if jax.process_count() > 1:  # nobody writes or lists the folder while the first one moves
            multihost_utils.sync_global_devices("Checkpoints.newest_good")
        self._delete_discarded()
        good = set_aside_damaged(self.folder) if jax.process_index() == 0 else None
        if jax.process_count() > 1:
            told = multihost_utils.broadcast_one_to_all(np.int32(-1 if good is None else good))
            good = None if told < 0 else int(told)
        if "_manager" in vars(self):
            self._manager.reload()
        return good

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None) -> None:
        """Starts to write the state of ``step``; it may be donated to the next step at once.

        Args:
            step: its number; a step that is there already is left as it is.
            state: what to write, a tree of arrays.
            metrics: the evaluation at this step, where there was one.

        Raises:
            CheckpointError: the write before failed, or this one cannot begin.
        """
        if step == self.newest:
            return
        with self._named_failure():
            self._manager.wait_until_finished()
        self._delete_discarded()
        self._writing = step
        with self._named_failure():
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=dict(metrics or {}))

    def _delete_discarded(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / DISCARDED, ignore_errors=True)

    @contextlib.contextmanager
    def _named_failure(self) -> Iterator[None]:
        """CheckpointError in place of what a disk that takes no more made Orbax raise."""
        try:
            yield
        except Exception as error:
            number = _disk_error(error)
            if number is None:
                raise
            raise CheckpointError(number, self._failure(number)) from error

    def _failure(self, number: int) -> str:
        full = number in (errno.ENOSPC, errno.EDQUOT)
        good = newest_whole(self.folder)
        there = (
            "there is no good checkpoint" if good is None else f"the last good checkpoint is of step {good}"
        )
        return (
            f"{'the disk is full' if full else 'the disk failed'} ({os.strerror(number)}): step {self._writing} was "
            f"not saved, {there} in {self.folder}; {'free space' if full else 'mend it'} and start again"
        )

    def step(self, which: int | str) -> int:
        """The step that ``which`` means: a step itself, ``"newest"`` or ``"best"`` of those that are there.

        For reading only: nothing is moved. A damaged newest one is named on stderr and stepped over.

        Raises:
            FileNotFoundError: there is no such checkpoint. ValueError: it means none, or the checkpoint is damaged.
        """
        if not re.fullmatch(r"newest|best|[0-9]+", str(which)):
            raise ValueError(
                f"--checkpoint: got {which!r}, expected newest, best or a step; --mode=gradient_flow knows initial "
                "and all, too"
            )
        found = self._find(str(which))
        there = saved_steps(self.folder)
        if found not in there:
            damaged = ", all of them damaged" if which == "newest" else ""
            listed = f"steps {', '.join(map(str, there))}{damaged}" if there else "no checkpoint; train first"
            raise FileNotFoundError(f"--checkpoint: got {which}, but {self.folder} has {listed}")
        if which != "newest":
            self._check_whole(found)
        return found

    def _find(self, which: str) -> int | None:
        if which == "newest":
            return newest_whole(self.folder)
        return self._best() if which == "best" else int(which)

    def _best(self) -> int | None:
        values = {
            step: self._metrics(step).get(self._best_metric, math.nan) for step in saved_steps(self.folder)
        }
        measured = {step: value for step, value in values.items() if not math.isnan(value)}
        sign = -1 if self._lower_is_better else 1
        return max(measured, key=lambda step: (sign * measured[step], step), default=None)

    def _metrics(self, step: int) -> dict[str, float]:
        try:
            return json.loads((self.folder / str(step) / "metrics" / "metrics").read_text())
        except (OSError, ValueError):
            self._check_whole(step)
            raise

    def _check_whole(self, step: int) -> None:
        problem = find_damage(self.folder / str(step))
        if problem is not None:
            raise ValueError(f"{self.folder / str(step)}: damaged ({problem}); choose another --checkpoint")

    def restore(self, target: Tree, step: int) -> Tree:
        """The state of ``step``, typed, shaped and placed as ``target``: see `reading.read`.

        Raises:
            ValueError: the checkpoint is of a model or optimizer with other settings.
        """
        return restore_state(self.folder / str(step), target)

    def restore_model(self, target: Tree, step: int) -> Tree:
        """The part of the state of ``step`` that ``target`` has, for instance all but the optimizer's.

        Args:
            target: a dict of fields of the state, or a dataclass with just those fields; its leaves as for
                `restore`.
            step: which checkpoint.

        Raises:
            ValueError: the checkpoint is of a model with other settings.
        """
        return restore_fields(self.folder / str(step), target)


def _disk_error(error: BaseException | None) -> int | None:
    """The number of the disk's error behind an exception, by its type or by its text; None if it is another."""
    while error is not None:
        for number in DISK_ERRORS:
            if os.strerror(number) in str(error):
                return number
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
