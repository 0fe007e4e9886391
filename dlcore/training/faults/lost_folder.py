"""Notices that a run's folder was deleted, moved or replaced while the run trains: nobody would find its results."""

import contextlib
import errno
import os
from pathlib import Path

import jax

from dlcore.training.checkpoints.disk import LostFolderError

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class FolderGuard(contextlib.ExitStack):
    """Watches files of a run, which are in their places as long as the run's folder is; a context manager.

    The files stay open, so that no other file gets their numbers. In a job of several processes, the first one watches.

    Args:
        paths: the files, the one first that every check looks at. Those that do not exist are not watched.
    """

    def __init__(self, *paths: Path):
        super().__init__()
        self._files = [
            (str(path), os.fstat(self.enter_context(path.open("rb")).fileno()))
            for path in paths
            if jax.process_index() == 0 and path.is_file()
        ]

    def check(self) -> None:
        """Looks at the first file; cheap, so it may be called after every call of the devices.

        Raises:
            LostFolderError: the file is not in its place.
        """
        self._check(self._files[:1])

    def check_all(self) -> None:
        """Looks at all files; the loop calls this before it saves a checkpoint. Errors are those of `check`."""
        self._check(self._files)

    @staticmethod
    def _check(files: list[tuple[str, os.stat_result]]) -> None:
        for path, opened in files:
            try:
                stays = os.path.samestat(os.stat(path), opened)
            except OSError as error:
                stays = error.errno not in GONE  # it is there, though it cannot be looked at now
            if not stays:
                raise LostFolderError(
                    0,
                    f"{path}: deleted, moved or replaced while the run trained; the run ends, since what it writes "
                    "would not be found",
                )
