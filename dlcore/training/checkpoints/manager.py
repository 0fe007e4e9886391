"""The checkpoints of a run, written by Orbax in the background; the newest few and the best stay.

Every checkpoint contains the checksums of its files before it gets its name. A damaged checkpoint is never used and
never deleted: a run that goes on sets it aside, and a mode that only reads skips it.
"""

import contextlib
import functools
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

from dlcore.training.checkpoints.checksums import write_checksums
from dlcore.training.checkpoints.disk import CheckpointError, LostFolderError, disk_error, write_failure
from dlcore.training.checkpoints.folder import newest_whole, saved_steps, set_aside_damaged, write_callbacks
from dlcore.training.checkpoints.location import absolute
from dlcore.training.checkpoints.ranking import Ranking, check_whole
from dlcore.training.checkpoints.restore import restore_fields, restore_state
from dlcore.training.config import CheckpointConfig
from dlcore.utils.files import is_bucket
from dlcore.utils.trees import named_leaves

Tree = TypeVar("Tree")

# Orbax moves surplus checkpoints here by one rename: a checkpoint is whole or gone, whenever the process is killed.
DISCARDED = ".surplus"
UNFINISHED = ".orbax-checkpoint-tmp"  # the end of a checkpoint's name while Orbax writes it


class Checkpoints:
    """The checkpoints in a folder, at most one for each step; a context manager that calls `close` at its end.

    Args:
        folder: where the checkpoints are, see `location.checkpoints_path`; it is made when the first one is written.
        config: its ``keep`` says how many of the newest checkpoints stay; the best one stays too.
        best: the evaluation metric that ranks them.
        lower_is_better: True if the smallest value of that metric is the best.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, best: str, lower_is_better: bool = False):
        self.folder, self._config = absolute(folder), config
        self._ranking = Ranking(best, lower_is_better)
        self._writing: int | None = None
        self._callbacks: Mapping[str, Any] = {}
        self._best_rank: float | None = None

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's manager. It is made only when something is written, since it fails if it finds damage."""
        keep = AnyPreservationPolicy(
            [LatestN(self._config.keep), BestN(get_metric_fn=self._ranking.rank, n=1)]
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=self._ranking.rank,
            preservation_policy=keep,
            create=False,
            todelete_subdir=DISCARDED,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_own_files),
        )
        return ocp.CheckpointManager(self.folder, options=options)

    @property
    def _has_manager(self) -> bool:
        return "_manager" in vars(self)

    def _write_own_files(self) -> None:
        """Orbax calls this in the first process, after all is written and before the folder gets its name."""
        folder = self.folder / f"{self._writing}{'' if is_bucket(self.folder) else UNFINISHED}"
        write_callbacks(folder, self._callbacks)
        write_checksums(folder)

    def is_best(self, metrics: Mapping[str, Any] | None) -> bool:
        """True if an evaluation is better than those of all checkpoints, also of those of earlier processes.

        The best checkpoint always stays, so no evaluation that was saved was better.

        Args:
            metrics: the evaluation; None, and one whose best metric is NaN, is never the best.

        Raises:
            ValueError: a checkpoint's metrics are damaged.
        """
        if self._best_rank is None:
            self._best_rank = self._ranking.best_rank(self.folder)
        return self._ranking.rank(metrics or {}) > self._best_rank

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        try:
            self.close()
        except Exception as failure:
            same = isinstance(failure, CheckpointError) and isinstance(error, CheckpointError)
            if not same and not isinstance(error, LostFolderError):  # else `error` says it already
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
        self.wait()
        if jax.process_count() > 1:  # nobody may write or list the folder while the first process moves
            multihost_utils.sync_global_devices("Checkpoints.set_aside_damaged")
        self._delete_discarded()
        newest = set_aside_damaged(self.folder) if jax.process_index() == 0 else None
        if jax.process_count() > 1:
            told = multihost_utils.broadcast_one_to_all(np.int32(-1 if newest is None else newest))
            newest = None if told < 0 else int(told)
        self._best_rank = self._ranking.best_rank(self.folder)
        if self._has_manager:
            self._manager.reload()
        return newest

    def wait(self) -> None:
        """Waits until the last write is finished, if there was one.

        Raises:
            CheckpointError: the disk failed in this write.
        """
        if self._has_manager:
            with self._disk_errors_named():
                self._manager.wait_until_finished()

    def save(
        self,
        step: int,
        state: Any,
        metrics: Mapping[str, Any] | None,
        callbacks: Mapping[str, Any] | None = None,
    ) -> None:
        """Waits for the previous write, then starts to write this state in the background.

        On return, the state may be donated to the next step.

        Args:
            step: the training step; if this object saved it before, `save` returns at once.
            state: a tree of arrays.
            metrics: the evaluation at this step, which ranks the checkpoints; None if there was none.
            callbacks: what `folder.read_callbacks` returns later; the first process' counts.

        Raises:
            CheckpointError: the disk failed in the previous write or at the start of this one, or there is a
                checkpoint of this or a later step, which somebody else put there.
        """
        if step == self._writing:
            return
        self.wait()
        self._delete_discarded()
        self._writing, self._callbacks = step, dict(callbacks or {})
        best = self.is_best(metrics)
        with self._disk_errors_named():
            saved = self._manager.save(step, args=ocp.args.StandardSave(state), metrics=dict(metrics or {}))
        if not saved:
            raise CheckpointError(
                0,
                f"step {step} was not saved: {self.folder} has a checkpoint of step {self.newest}, which this run did "
                "not write; move it elsewhere and start again",
            )
        if best:
            self._best_rank = self._ranking.rank(metrics or {})

    def _delete_discarded(self) -> None:
        """Deletes the surplus checkpoints, and nothing else that somebody put beside them.

        Orbax deletes those in a bucket itself, since nothing can be renamed there at once.
        """
        if jax.process_index() == 0 and not is_bucket(self.folder):
            for step in saved_steps(self.folder / DISCARDED):
                shutil.rmtree(self.folder / DISCARDED / str(step), ignore_errors=True)
            with contextlib.suppress(OSError):
                (self.folder / DISCARDED).rmdir()

    @contextlib.contextmanager
    def _disk_errors_named(self) -> Iterator[None]:
        """Raises CheckpointError in place of the error that a failed disk made Orbax raise."""
        try:
            yield
        except Exception as error:
            error_code = disk_error(error)
            if error_code is None:
                raise
            raise write_failure(error_code, self._writing, self.folder) from error

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
                f"checkpoint: got {which!r}, expected newest, best or a step; only the mode gradient_flow knows "
                "initial and all, too"
            )
        found = self._find(str(which))
        saved = saved_steps(self.folder)
        if found not in saved:
            damaged = ", all of them damaged" if which == "newest" else ""
            listed = f"steps {', '.join(map(str, saved))}{damaged}" if saved else "no checkpoint; train first"
            raise FileNotFoundError(f"checkpoint: got {which}, but {self.folder} has {listed}")
        if which != "newest":
            check_whole(self.folder / str(found))
        return found

    def _find(self, which: str) -> int | None:
        if which == "newest":
            return newest_whole(self.folder)
        return self._ranking.best_step(self.folder) if which == "best" else int(which)

    def restore(self, target: Tree, step: int) -> Tree:
        """Reads the whole state of a step, with the types, shapes and placement of ``target``: see `restore_state`.

        Args:
            target: as in `restore_state`.
            step: the step of the checkpoint.

        Raises:
            ValueError: as in `restore_state`, or the state is of another step.
        """
        return self._checked_step(restore_state(self.folder / str(step), target), step)

    def restore_fields(self, target: Tree, step: int) -> Tree:
        """Reads the fields of a step's state that ``target`` has, for instance all but the optimizer's.

        Args:
            target: a dict of fields of the state, or a dataclass with just those fields; its leaves are as for
                `restore`.
            step: the step of the checkpoint.

        Raises:
            ValueError: as in `restore_state`, or the state is of another step.
        """
        return self._checked_step(restore_fields(self.folder / str(step), target), step)

    def _checked_step(self, restored: Tree, step: int) -> Tree:
        """The restored state; ValueError if it is of another step than its folder's name says, as in a copy."""
        found = named_leaves(restored).get("step", step)
        if found != step:
            raise ValueError(
                f"{self.folder / str(step)}: got the state of step {found}, expected that of step {step}; move this "
                "folder elsewhere, or give it the name of its step"
            )
        return restored
