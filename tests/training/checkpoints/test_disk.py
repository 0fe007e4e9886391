"""The cause of a failed write is found in any error that Orbax makes of it."""

import errno
import os

import pytest

from dlcore.training.checkpoints.disk import DISK_ERRORS, CheckpointError, LostFolderError, disk_error


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
