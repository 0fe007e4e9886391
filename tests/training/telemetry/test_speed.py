"""Rates are counts divided by the time of training alone."""

from unittest import mock

import numpy as np
import pytest

from dlcore.training.telemetry import speed


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def test_rates_are_those_by_hand():
    clock = Clock()
    with mock.patch.object(speed, "time", clock):
        meter = speed.Speed()
        clock.now += 3.0  # a compilation, which is reported on its own
        meter.add_compilation(3.0)
        for _ in range(4):
            with meter.waiting_for_data():
                clock.now += 0.5
            clock.now += 1.5
            meter.add_call(2, (16, 120), 1e6)
        with meter.paused():
            clock.now += 50.0
        rates = meter.read_rates()
        again = meter.read_rates()
    assert rates["steps_per_second"] == pytest.approx(8 / 8)
    assert rates["examples_per_second"] == pytest.approx(64 / 8)
    assert rates["frames_per_second"] == pytest.approx(480 / 8)
    assert rates["flops_per_second"] == pytest.approx(4e6 / 8)
    assert rates["data_seconds"] == pytest.approx(0.25)
    assert rates["device_seconds"] == pytest.approx(0.75)
    assert rates["compile_seconds"] == 3.0
    assert rates["peak_memory_bytes"] > 1e7
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
def test_examples_and_frames_are_counted(batch, expected):
    assert speed.count_examples(batch) == expected


def test_the_devices_own_count_of_memory_is_preferred(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"peak_bytes_in_use": 123}

    monkeypatch.setattr(speed.jax, "local_devices", lambda: [Device()])
    assert speed.peak_memory_bytes() == 123.0
