"""A run that is killed at any moment, and started again, ends with the bits of one that was not.

A few kills; ``python -m tests.kills`` does many.
"""

import signal

import pytest

from tests.kills import kill


@pytest.mark.slow
@pytest.mark.parametrize(("number", "experiment"), [(signal.SIGKILL, "bigru"), (signal.SIGTERM, "lstm")])
def test_killed_anywhere(number, experiment):
    assert sum(kill(1, number, seed=1, experiments=[experiment]).values()) == 1
