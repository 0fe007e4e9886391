"""A run that is killed at any moment, and started again, ends with the bits of one that was not."""

import signal

import pytest

from tests.kills import kill


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_anywhere(number):
    assert sum(kill(12, number, seed=1).values()) == 12
