"""The cause of a failed write is found in any error that Orbax makes of it."""

import errno
import os

import pytest

from dlcore.training.checkpoints.disk import (
    DISK_ERRORS,
    CheckpointError,
    LostFolderError,
    disk_error,
    write_failure,
)
from tests.helpers.checkpoints import fake_checkpoint


@pytest.mark.parametrize("number", DISK_ERRORS)
def test_a_disk_error_is_found_by_number_in_a_text_and_as_the_cause_of_another(number):
    assert disk_error(OSError(number, "injected")) == number
    assert disk_error(ValueError(f"RESOURCE_EXHAUSTED: {os.strerror(number)}")) == number
    outer = RuntimeError("the thread failed")
    outer.__cause__ = OSError(number, "injected")
    assert disk_error(outer) == number


def test_another_error_has_no_number():
    assert disk_error(None) is None
    assert disk_error(ValueError("shapes differ")) is None
    assert disk_error(PermissionError(errno.EACCES, "denied")) == errno.EACCES


def test_the_message_of_an_error_is_all_that_it_says():
    for kind in (CheckpointError, LostFolderError):
        assert str(kind(errno.ENOSPC, "the disk is full")) == "the disk is full"
        assert str(kind(0, "")) == ""


def test_a_failed_write_says_what_is_left(tmp_path):
    folder = tmp_path / "checkpoints"
    failure = write_failure(errno.EIO, 6, folder)
    assert failure.errno == errno.EIO
    assert "step 6 was not saved, there is no good checkpoint in" in str(failure)
    fake_checkpoint(tmp_path, 3)
    assert "the disk is full" in str(write_failure(errno.ENOSPC, 6, folder))
    assert "the last good checkpoint is of step 3" in str(write_failure(errno.ENOSPC, 6, folder))
