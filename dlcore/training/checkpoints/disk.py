"""Failures of the disk under a run: a checkpoint that was not written, a folder that is gone."""

import errno
import os
from pathlib import Path

from dlcore.training.checkpoints.folder import newest_whole

# The errors of a disk that takes no more; Orbax passes some of them on only as text.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)


class CheckpointError(OSError):
    """A checkpoint was not written; ``errno`` says why if it was the disk, and the message says what is left."""

    def __str__(self) -> str:
        return self.strerror or ""


class LostFolderError(CheckpointError):
    """The run's folder is not where it was, so nobody would find what the run writes."""


def disk_error(error: BaseException | None) -> int | None:
    """The number of the disk's error that caused an exception, found by type or by text; None for another cause."""
    while error is not None:
        for error_code in DISK_ERRORS:
            if os.strerror(error_code) in str(error):
                return error_code
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def write_failure(error_code: int, step: int | None, folder: Path) -> CheckpointError:
    """The error (returned, not raised) for a checkpoint that the disk did not take; it says which one is left.

    Args:
        error_code: the number of the disk's error.
        step: the step that was not saved.
        folder: the ``checkpoints`` folder of the run.
    """
    full = error_code in (errno.ENOSPC, errno.EDQUOT)
    problem, mend = ("the disk is full", "free space") if full else ("the disk failed", "mend it")
    whole = newest_whole(folder)
    left = "there is no good checkpoint" if whole is None else f"the last good checkpoint is of step {whole}"
    return CheckpointError(
        error_code,
        f"{problem} ({os.strerror(error_code)}): step {step} was not saved, {left} in {folder}; {mend} and start again",
    )
