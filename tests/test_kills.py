"""A run that is killed at any moment and started again ends with the same bits as a run that was not killed.

These tests kill a few times; ``python -m tests.kills`` does it many times.
"""

import signal

import pytest

from tests.kills import kill


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal_number", "experiment"), [(signal.SIGKILL, "bigru"), (signal.SIGTERM, "lstm")]
)
def test_a_killed_run_ends_with_the_same_bits(signal_number, experiment):
    assert sum(kill(1, signal_number, seed=1, experiments=[experiment]).values()) == 1
