"""TensorBoard reads what was written."""

import resource

import pytest

from dlcore.training.callbacks.callback import Start
from dlcore.training.config import Config
from dlcore.training.telemetry.events import Events
from tests.helpers.events import read_events


def started(folder, step):
    events = Events()
    events.on_start(Start(folder, step, Config()))
    return events


def test_tensorboard_reads_what_was_written(tmp_path):
    writer = started(tmp_path, 4)
    writer.on_row(5, {"train/loss": 0.25}, {"train/steps_per_second": 10.0})
    writer.on_end(None)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    events = read_events(path)
    values = {
        value.tag: (event.step, value.simple_value) for event in events for value in event.summary.value
    }
    assert values == {"train/loss": (5, 0.25), "train/steps_per_second": (5, 10.0)}
    assert [event.step for event in events if event.session_log.status] == [5]


def test_a_full_disk_raises_at_once(tmp_path):
    """A thread that writes would end instead, and the run would wait for it for ever."""
    writer = started(tmp_path, 0)

    def write_much():
        for step in range(1000):
            writer.on_row(step, {"train/loss": 0.5}, {})

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
