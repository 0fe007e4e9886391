"""metrics.csv, and what a person sees."""

import subprocess
import sys

import pytest
from tensorboardX.proto.event_pb2 import Event

from dlcore.train.telemetry.metrics_log import MetricsLog, read_metrics


def test_rows_come_back_as_they_were(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write(5, {"train/loss": 0.1 + 0.2, "train/accuracy": 1.0}, {"train/steps_per_second": 10.0})
        assert read_metrics(tmp_path / "metrics.csv") == [
            (5, "train/loss", 0.1 + 0.2),
            (5, "train/accuracy", 1.0),
        ]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_rows_behind_the_restored_step_are_dropped(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        for step in (5, 10, 15):
            log.write(step, {"train/loss": float(step)})
    with MetricsLog(tmp_path, 10) as log:
        log.write(15, {"train/loss": -1.0})
    assert [value for _, _, value in read_metrics(tmp_path / "metrics.csv")] == [5.0, 10.0, -1.0]


def test_a_row_that_a_killed_process_left_incomplete_is_passed_over(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write(5, {"train/loss": 1.0})
    path = tmp_path / "metrics.csv"
    for torn in ("10,train/lo", "10", "10,train/loss,0.12345"):
        path.write_text(path.read_text().splitlines()[0] + "\n5,train/loss,1.0\n" + torn)
        assert read_metrics(path) == [(5, "train/loss", 1.0)]
    assert read_metrics(tmp_path / "none.csv") == []


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "metrics.csv"
    for row in ("5,train/loss", "five,train/loss,1.0", "5,train/loss,much"):
        path.write_text(f"step,name,value\n{row}\n6,train/loss,1.0\n")
        with pytest.raises(ValueError, match=r"metrics\.csv: got a row that is no step,name,value"):
            read_metrics(path)


def test_a_disk_that_takes_no_more_is_an_error_at_once(tmp_path):
    """No thread that dies of it, for which the run would wait."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from dlcore.train.telemetry.metrics_log import MetricsLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "with MetricsLog(Path(sys.argv[1]), 0) as log:\n"
        "    for step in range(1, 10_000):\n"
        "        log.write(step, {'train/loss': 0.5}, {f'train/{number}': 1.0 for number in range(10)})\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert "OSError: [Errno 27]" in finished.stderr
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [step for step, _, _ in rows] == list(range(1, len(rows) + 1))


def test_tensorboard_reads_what_was_written(tmp_path):
    with MetricsLog(tmp_path, 4) as log:
        log.write(5, {"train/loss": 0.25}, {"train/steps_per_second": 10.0})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content, events = path.read_bytes(), []
    while content:  # length, its checksum, the event, its checksum
        size = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    values = {
        value.tag: (event.step, value.simple_value) for event in events for value in event.summary.value
    }
    assert values == {"train/loss": (5, 0.25), "train/steps_per_second": (5, 10.0)}
    assert [event.step for event in events if event.session_log.status] == [5]
