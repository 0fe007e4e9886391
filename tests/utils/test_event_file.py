"""Files of TensorBoard events: another program reads what was written."""

import math
import struct
import time

import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from dlcore.utils.event_file import EventFile
from tests.helpers.events import read_events


def test_another_program_reads_what_was_written(tmp_path):
    numbers = {"train/loss": 0.1, "größe": -1e30, "nan": math.nan, "huge": 1e300, "x" * 300: 1.0}
    file = EventFile(tmp_path / "events")
    file.start(4)
    file.write(2**40, numbers)
    file.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    first, start, row = read_events(path)
    assert (first.file_version, first.step) == ("brain.Event:2", 0)
    assert (start.step, start.session_log.status) == (4, SessionLog.START)
    assert row.step == 2**40
    read_back = {value.tag: value.simple_value for value in row.summary.value}
    singles = [*struct.unpack("<3f", struct.pack("<3f", 0.1, -1e30, math.nan)), math.inf, 1.0]
    assert read_back == pytest.approx(dict(zip(numbers, singles, strict=True)), nan_ok=True, rel=0)
    assert all(abs(event.wall_time - time.time()) < 60 for event in (first, start, row))


def test_a_row_is_in_the_file_before_it_is_closed(tmp_path):
    file = EventFile(tmp_path / "events")
    file.write(1, {"a": 1.0})
    (path,) = tmp_path.iterdir()
    assert [event.step for event in read_events(path)] == [0, 1]
    file.close()
