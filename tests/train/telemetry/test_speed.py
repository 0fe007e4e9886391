"""Rates are counts over the time of training alone."""

import dataclasses
import time
from unittest import mock

import numpy as np
import pytest

from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.telemetry import speed
from dlcore.train.telemetry.metrics_log import MetricsLog
from tests.helpers import sequence_toy


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def test_rates_by_hand():
    clock = Clock()
    with mock.patch.object(speed, "time", clock):
        meter = speed.Speed()
        clock.now += 3.0  # a compilation, which is reported on its own
        meter.compiled(3.0)
        for _ in range(4):
            with meter.waiting_for_data():
                clock.now += 0.5
            clock.now += 1.5
            meter.add(2, (16, 120), 1e6)
        with meter.paused():
            clock.now += 50.0
        row = meter.row()
        again = meter.row()
    assert row["steps_per_second"] == pytest.approx(8 / 8)
    assert row["examples_per_second"] == pytest.approx(64 / 8)
    assert row["frames_per_second"] == pytest.approx(480 / 8)
    assert row["flops_per_second"] == pytest.approx(4e6 / 8)
    assert row["data_seconds"] == pytest.approx(0.25)
    assert row["device_seconds"] == pytest.approx(0.75)
    assert row["compile_seconds"] == 3.0
    assert row["peak_memory_bytes"] > 1e7
    assert again["steps_per_second"] == 0


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ({"inputs": np.zeros((3, 5, 2)), "lengths": np.array([5, 2, 0])}, (3, 7)),
        ({"inputs": np.zeros((3, 5, 2))}, (3, 15)),
        ({"inputs": np.zeros((3, 5), np.int32)}, (3, 15)),
        ({"inputs": np.zeros((3, 8, 8, 1))}, (3, 0)),
        ({"features": np.zeros((3, 5))}, (3, 0)),
    ],
)
def test_examples_and_frames(batch, expected):
    assert speed.count(batch) == expected


def test_a_run_reports_where_its_time_goes_and_keeps_it_out_of_the_table(tmp_path, monkeypatch):
    clocks = []
    write = MetricsLog.write
    monkeypatch.setattr(
        MetricsLog,
        "write",
        lambda self, step, row, clock=None: (clocks.append(clock), write(self, step, row, clock)),
    )
    config = sequence_toy.Config()
    slow = sequence_toy.experiment(config)

    class SlowData:
        batch_size = 8

        def __getitem__(self, step):
            time.sleep(0.05)
            return slow.train_data[step]

    loop.train(Engine(dataclasses.replace(slow, train_data=SlowData()), config), tmp_path)
    rows = [clock for clock in clocks if clock]
    assert len(rows) == 4
    last = rows[-1]
    assert last["train/data_seconds"] > last["train/device_seconds"]
    # The row before was written when the first of its three steps had begun already.
    lengths = [slow.train_data[step]["lengths"].sum() for step in (10, 11)]
    frames = last["train/frames_per_second"] / last["train/steps_per_second"]
    assert frames == pytest.approx(np.mean(lengths), rel=1e-6)
    products = 3 * 8 * 9 * 2 * (2 + 8) * 32  # of the LSTM, forward and backward; the gates come on top
    assert products < last["train/flops_per_second"] / last["train/steps_per_second"] < 3 * products
    assert "per_second" not in (tmp_path / "metrics.csv").read_text()
